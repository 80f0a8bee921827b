"""The whole report: a gold file, hostile names, redaction, denominators, and that it needs nothing from outside.

The gold file holds the body without the script. To write it anew after a wanted change: MUTINEER_WRITE_GOLD=1.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from campaigns.record import ExperimentRecord, IncidentMatch
from classifiers.observation import CanaryRecord
from classifiers.verdict import Means, Sign
from injector.rules import Rule
from injector.targets import Target
from mutineer.report.model import Deviation, build_report
from mutineer.report.rendering import TEMPLATES, render
from tests.mutineer.report_builders import (
    INCIDENTS,
    firing,
    golden,
    metadata,
    observation,
    quickstart_records,
    quickstart_report,
    service,
    service_selector,
)

GOLD = Path(__file__).parent / "gold" / "report.html"
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Parses strictly enough to see that every element is closed in order; collects elements and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes nothing; open: {self._open}"

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))


def small_records() -> tuple[ExperimentRecord, ...]:
    """Does not change with the catalogue: its matches are given."""
    chosen = {record.planned.id: record for record in quickstart_records()}
    match = IncidentMatch("monzo-empty-endpoints-2017", 0.71, "same kind Service; ended in network, as there")
    unknown = IncidentMatch("gone-from-the-catalogue", 0.6, "same kind Service")
    network = dataclasses.replace(service_selector(), incidents=(match, unknown))
    others = [
        dataclasses.replace(chosen[name], incidents=()) for name in ("e5510b9c", "e1d4c8a9", "e3b7700e", "efe00d11")
    ]
    return (golden(0), golden(1, shift=0.3), network, *others)


def body(html: str) -> str:
    return re.sub(r"<script>.*?</script>", "<script></script>", html[html.index("<body>") :], flags=re.DOTALL)


def test_the_report_is_as_the_gold_file() -> None:
    html = body(render(build_report(metadata(planned=6), small_records(), INCIDENTS)))
    if os.environ.get("MUTINEER_WRITE_GOLD"):
        GOLD.parent.mkdir(exist_ok=True)
        GOLD.write_text(html, encoding="utf-8")
    assert html == GOLD.read_text(encoding="utf-8")


def test_equal_documents_give_equal_text() -> None:
    assert render(quickstart_report()) == render(quickstart_report())


def test_every_element_is_closed_in_order_and_ids_are_unique() -> None:
    page = Page(render(quickstart_report()))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for tag, attrs in page.elements if tag == "a" and (attrs["href"] or "").startswith("#")}
    assert targets <= {f"#{name}" for name in ids}


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


def hostile_records() -> tuple[ExperimentRecord, ...]:
    """Every text that a cluster, a user or a plugin could choose is hostile."""
    record = service_selector("e1")
    seen = record.observation
    assert seen is not None
    before = service("web").replace(b"default", HOSTILE[:7].encode())
    hostile_seen = observation(
        milestones={HOSTILE: 1.0, f"{HOSTILE}2": None},
        final_counts={HOSTILE: 1},
        canary=CanaryRecord(stages={HOSTILE: None}, deadline_s=20, error=HOSTILE),
        probes=tuple(dataclasses.replace(p, service=HOSTILE, vantage=HOSTILE, blind=HOSTILE) for p in seen.probes),
        user_errors=(HOSTILE,),
        caps=(HOSTILE,),
        blind=(HOSTILE,),
        undecodable=(HOSTILE,),
        firings=(
            firing(before, before + HOSTILE.encode(), key=HOSTILE, operation=HOSTILE, identity=HOSTILE,
                   field_before=HOSTILE, field_after={HOSTILE: HOSTILE}),
        ),
    )  # fmt: skip
    rule = record.planned.rule
    assert rule is not None
    hostile_rule = Rule(
        id=HOSTILE, channel=rule.channel, model=HOSTILE, parameters={HOSTILE: HOSTILE},
        target=Target(kind=HOSTILE, identity=f"{HOSTILE}/{HOSTILE}", field=HOSTILE),
    )  # fmt: skip
    planned = dataclasses.replace(record.planned, id=HOSTILE, workload=HOSTILE, why=HOSTILE, rule=hostile_rule)
    hostile = dataclasses.replace(
        record, planned=planned, observation=hostile_seen, sandbox=HOSTILE, error=HOSTILE,
        verdict=dataclasses.replace(record.verdict, reasons=(HOSTILE,)),
        incidents=(IncidentMatch(HOSTILE, 0.9, HOSTILE), *record.incidents),
        reset=dataclasses.replace(record.reset, rung=HOSTILE, proof=HOSTILE) if record.reset else None,
    )  # fmt: skip
    run = golden(0)
    named = dataclasses.replace(run.planned, id=f"g{HOSTILE}", workload=HOSTILE)
    return (dataclasses.replace(run, planned=named, observation=hostile_seen), hostile)


def test_hostile_names_are_text_and_never_markup() -> None:
    hostile_deviation = Deviation(component=HOSTILE, setting=HOSTILE, ours=HOSTILE, kubeadm=HOSTILE, why=HOSTILE)
    meta = metadata(
        name=HOSTILE, spec=HOSTILE, started=HOSTILE, ended=HOSTILE, versions={HOSTILE: HOSTILE, "mutineer": HOSTILE},
        host={HOSTILE: HOSTILE}, deviations=(hostile_deviation,), assets={HOSTILE: HOSTILE},
    )  # fmt: skip
    html = render(build_report(meta, hostile_records(), INCIDENTS))
    page = Page(html)
    assert html.count("<script") == 1
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in Page(render(quickstart_report())).elements} | {"pre"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 30


def test_no_value_of_a_secret_is_in_the_report_in_any_spelling() -> None:
    html = render(quickstart_report())
    assert "Secret default/token" in html
    spellings = ["hunter", "aHVudGVy", "68 75 6e 74", "68756e74"]
    assert [text for text in spellings if text in html] == []


def test_the_report_loads_nothing_and_runs_only_its_own_script() -> None:
    html = render(quickstart_report())
    page = Page(html)
    assert not [attrs for _, attrs in page.elements if {"src", "srcset", "data", "poster", "background"} & set(attrs)]
    assert not [tag for tag, _ in page.elements if tag in {"link", "iframe", "object", "embed", "img", "base", "form"}]
    assert not re.search(r"@import|url\((?!#)", html)
    policy = next(
        attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.search(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert script
    assert policy
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_sources_of_incidents_are_links_without_opener_whose_text_is_the_address() -> None:
    html = render(quickstart_report())
    links = re.findall(r'<a class="source" href="([^"]+)" rel="([^"]+)">([^<]+)</a>', html)
    assert len(links) > 5
    assert all("noopener" in rel and href == text and href.startswith("http") for href, rel, text in links)


def test_every_percentage_stands_behind_its_denominator() -> None:
    html = render(quickstart_report())
    shares = re.findall(r"(\d+ of \d+ [\w &;#,.-]+ \((?:&lt; |&gt; )?\d+\u00a0%\))", html)
    percentages = html.count("\u00a0%")
    assert len(shares) == percentages > 15


def test_the_main_tables_stand_without_javascript_and_every_column_has_a_header() -> None:
    page = Page(render(quickstart_report()))
    rows = [attrs for tag, attrs in page.elements if tag == "tbody" and (attrs.get("id") or "").startswith("e-")]
    assert len(rows) == sum(not record.planned.golden for record in quickstart_records())
    assert sum(tag == "details" for tag, _ in page.elements) == len(rows)
    assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in page.elements if tag == "th")


def test_not_fired_inconclusive_and_errors_are_in_no_failure_rate() -> None:
    report = quickstart_report()
    cards = {card.name: (card.number, card.note.replace("\N{NO-BREAK SPACE}", " ")) for card in report.cards}
    assert cards["experiments done"] == ("12", "12 of 13 planned (92 %)")
    assert cards["judged"] == ("9", "9 of 12 done (75 %); 2 inconclusive, 1 harness errors")
    assert cards["fired"] == ("10", "10 of 12 done (83 %)")
    assert cards["cluster-wide failures"] == ("2", "2 of 9 fired and judged (22 %)")
    assert report.headline == (
        "10 of 13 planned faults fired; 7 of the 9 that fired and could be judged broke something: 2 cluster-wide, "
        "1 in the service network, 3 in over- or under-provisioning, 1 only in timing."
    )
    funnel = [(portion.name, portion.share.count) for portion in report.funnel]
    assert funnel == [("done", 12), ("fired", 10), ("accepted", 9), ("consumed", 8), ("effective", 7)]


def test_what_the_run_cannot_tell_is_said() -> None:
    limits = " ".join(quickstart_report().limits)
    for words in (
        "chosen because they differ",
        "n = 9 is small",
        "1 of 13 planned experiments have no record",
        "not known to have fired",
        "3 of 12 could not be judged",
        "8 golden runs",
        "differ from kubeadm's defaults",
        "not the proof of a common cause",
    ):
        assert words in limits


def test_a_run_without_any_record_says_so_instead_of_showing_zero_failures() -> None:
    report = build_report(metadata(planned=24), (), INCIDENTS)
    assert report.headline == "None of 24 planned faults fired and could be judged: this run says nothing yet."
    html = render(report)
    Page(html)
    assert "no golden runs" in html
    assert "none fired and judged" in html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5:1 for text; the colours of classes are those of text in tags and tables."""
    css = (TEMPLATES / "report.css").read_text()
    light = dict(re.findall(r"--([\w-]+): (#\w{6})", css.partition("@media (prefers-color-scheme: dark)")[0]))
    dark_block = css.partition("@media (prefers-color-scheme: dark)")[2].partition("* {")[0]
    colours = {**light, **(dict(re.findall(r"--([\w-]+): (#\w{6})", dark_block)) if scheme == "dark" else {})}
    texts = ["ink", "soft", "accent", "outage", "stall", "network", "more", "less", "timing", "none", "unknown", "bad"]
    pairs = [(text, ground) for text in texts for ground in ("page", "paper")] + [("mark-ink", "mark")]
    low = [(text, ground, contrast(colours[text], colours[ground])) for text, ground in pairs]
    assert [pair for pair in low if pair[2] < 4.5] == []


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_sample_has_estimates_for_its_population_and_a_chosen_list_has_none() -> None:
    records = [
        dataclasses.replace(each, planned=dataclasses.replace(each.planned, stratum="all"))
        for each in quickstart_records()
    ]
    chosen, sampled = (
        build_report(metadata(), records, INCIDENTS, populations=populations) for populations in ({}, {"all": 9000})
    )
    assert chosen.shares is None and "Estimated for all faults" not in render(chosen)
    assert sampled.shares is not None and sampled.shares.rows[-1][0] == "all"
    assert sampled.shares.rows[-1][2] == "9,000" and sampled.shares.paper[0] == "3 %"
    assert "Estimated for all faults" in render(sampled)


def test_what_kubernetes_itself_told_is_among_the_notes() -> None:
    told = {"at_s": 2.5, "alert": "etcdMembersDown", "pages": True}
    sign = Sign(component="etcd", means=Means.CRASH, why="it ended once", **told)  # type: ignore[arg-type]
    record = service_selector()
    detected = dataclasses.replace(record, verdict=dataclasses.replace(record.verdict, detected=(sign,)))
    (view,) = build_report(metadata(), [detected], INCIDENTS).experiments
    notes = dict(view.notes)
    assert notes["What Kubernetes itself told"] == (
        "2.5 s  crash etcd: it ended once (etcdMembersDown, which pages, if it stays so)",
    )
