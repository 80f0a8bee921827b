"use strict";
// Only comfort: open and close all details, filter the experiments, print with all details open. The report is whole without it.
(() => {
  const all = () => document.querySelectorAll("#experiments details");
  const bar = document.getElementById("tools");
  bar.hidden = false;
  document.getElementById("open-all").onclick = () => all().forEach((d) => { d.open = true; });
  document.getElementById("close-all").onclick = () => all().forEach((d) => { d.open = false; });
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.oninput = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    const rows = document.querySelectorAll("#experiments .experiments > tbody");
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) count += 1;
    });
    shown.textContent = words.length ? count + " of " + rows.length + " shown" : "";
  };
  const reveal = () => {
    const row = location.hash.startsWith("#e-") && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (row) { const details = row.querySelector("details"); if (details) details.open = true; row.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  addEventListener("beforeprint", () => all().forEach((d) => { d.open = true; }));
  reveal();
})();
