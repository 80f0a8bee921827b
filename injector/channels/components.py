"""The channels between kube-apiserver and its components (scheduler, controller-manager, kubelets, kube-proxies), one
rule at a time: component-to-apiserver is what they ask for, apiserver-to-component what they are told.

    channel = component_channel(rule, baseline=pairs, sender=send)     # an injector.wire.exchange.ExchangeInspector

A message is a request's body, an answer, an object in a list, or an event of a watch. `operation`, of targets and of
firings:

    requests   create, update, patch, delete; bind, a pod's binding (pods/NAME/binding). Of a subresource it says which:
               update/status, patch/status, create/eviction. A target's `update` stands for all of them, `update/status`
               for that one alone. Requests that only read are no messages here: drop or delay their answers
    answers    get, list, watch; answer, what a write was answered with. Of a subresource get/scale, answer/status, …;
               a target's `answer` stands for all

Deletes of a whole collection name no object and never match. An operation stays what it was where the message is
dropped: `told` says that. `Target.component` narrows a rule to one component's messages; who is who is followed on all
of them (injector.channels.roster), and objects are numbered as on the other channels. `key` is the one in etcd; of an
object whose name kube-apiserver has yet to make up it ends in the generateName until the answer is there.

What components send, seen on a sandbox of Kubernetes 1.36.3: every create, update and delete in protobuf, and every
answer and watch of them, too (custom resources have no protobuf but for their metadata). kubelets patch the status of
pods and of their node (strategic merge, JSON:
`{"metadata":{"uid":…},"status":{"$setElementOrder/conditions":…,"conditions":[…]}}`), and renew their node's lease by
update. Leases of leader election are updated every 2 s, with resourceVersion. The scheduler binds by POST
pods/NAME/binding (answered by a Status, 201). The controller-manager creates pods with a generateName and without a
namespace (the path has it), replica sets with names of its own, endpoint slices with a generateName; updates status by
PUT of the whole object (`update/status`; a Conflict now and then is usual); the job controller takes a pod's finalizer
off by patch. It reads its garbage collector's owners as PartialObjectMetadata. Informers do not list: they watch with
sendInitialEvents, so that what is there comes as events ADDED and a BOOKMARK ends it; a `list` is rare (nodes, once).
kube-proxy watches services, endpoint slices, its node and service CIDRs, and writes nothing but events. Every delete
has a body, DeleteOptions.

Tried there: a lost create that is told as a success leaves its replica set standing still, one pod short, because the
controller waits for the pod that it believes to have made (its expectations, for five minutes).

Requests. Fields and bytes are changed in the body; what is in a patch is found by the same paths as in the object
(`status.conditions[type=Ready].status`), as far as it carries them. Deliveries:

    drop       kube-apiserver never gets it. error: 503 with a Status, reason ServiceUnavailable, in protobuf or JSON as
               the client asks. client-go tries again by itself only where an answer has a Retry-After (rest/
               with_retry.go, v0.36.3: 429 or 5xx with that header), which this one has not, so the error reaches the
               component's own loop: a work queue with back-off, the scheduler's queue, the kubelet's next sync, the
               next renewal of a lease. timeout: nothing. success: an answer that looks like one: a create's or update's
               object as it was sent (the note says what it lacks: a new resourceVersion, the uid, a generated name), a
               Status for a binding, an eviction or a delete, the object as it was last told for a patch
    delay      it waits here; where the client gives up meanwhile it never arrives, and the note says so
    copies     sent on, each after the one before, once the first was accepted. What kube-apiserver answered each stands
               in the note: a create with a name is refused with 409 AlreadyExists, an update with the resourceVersion
               that it read with 409 Conflict, a binding with 409 Conflict; a patch is done again, and changes nothing;
               a create with a generateName makes another object
    behind     until so many other writes of the same component, of whatever kind, were answered (its reads pass and do
               not count); if the rule is disarmed before that it goes then
    stale      an update with an earlier version in its body, as it was told then: with its resourceVersion, so that
               kube-apiserver refuses it (409 Conflict, in the note), as it does when a controller's cache lags. One
               that is known from the baseline alone has none, and replaces whatever is there, if its kind can be
               updated so (a Lease can't: 422 Invalid)
    wrong-key  the request goes to another object's path, body as it was. kube-apiserver compares the names: an update
               or a binding of another name is refused (400 BadRequest, in the note); patches and deletes name nothing
               in their bodies and are done to the other object

`accepted` is True once kube-apiserver answered with 2xx, False for all else (the note says what it said) and for what
never arrived. `revision` is the resourceVersion of the object in its answer.

Answers. What is changed is what this component is told; etcd and all others know better.

    drop       watch: the event is taken out. Nothing tells the component: informers go by the resourceVersion of the
               next event or BOOKMARK (one a minute: k8s.io/apiserver v0.36.3, pkg/storage/cacher) and begin after it if
               they have to watch anew, so the event is lost until the object changes again, or the informer begins
               from nothing. Where the watch breaks before any of these came, the event comes again.
               get, list, answer: error is a 503 in the answer's place, timeout nothing at all; success takes the object
               out of a list, and makes a 404 of a get. A write whose answer is lost was done all the same
    delay      this answer, or the watch from this event on
    copies     watch only: the event again, right behind itself
    behind     watch only: the event comes after the n-th one after it on the same watch
    stale      an earlier version, with its own resourceVersion; an informer takes it as it takes any event
    wrong-key  does not fit: what is told has no key but its own name

`accepted` stays None: a client does not say what it made of an answer. Where a watch ends after the rule fired, which
it does if its client can't read an event, the note says how many seconds later; one ends by itself after five to ten
minutes (client-go v0.36.3, tools/cache/reflector.go). `revision` is that of the object told.

Not looked at: Tables, YAML, lists and watches in CBOR (as injector.channels.bodies says), and bodies that the transport
did not read. They count as near misses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from injector.channels.component_answers import AnswersChannel
from injector.channels.component_requests import RequestsChannel
from injector.channels.evidence import Evidence
from injector.channels.exchanges import ExchangeChannel
from injector.faults import MODELS, Registry
from injector.rules import Rule
from injector.targets import Channel
from injector.wire.exchange import HttpSender

__all__ = ["AnswersChannel", "RequestsChannel", "component_channel"]


def component_channel(
    rule: Rule,
    *,
    baseline: Iterable[tuple[bytes, bytes]] = (),
    clock: Callable[[], float] = time.monotonic,
    sender: HttpSender | None = None,
    models: Registry = MODELS,
    evidence: type[Evidence] = Evidence,
) -> ExchangeChannel:
    """The rule in its channel: a RequestsChannel for component-to-apiserver, else an AnswersChannel. Parameters and
    errors as of injector.channels.channel; `sender` makes requests of our own, for copies."""
    made = RequestsChannel if rule.channel is Channel.COMPONENT_TO_APISERVER else AnswersChannel
    return made(rule, baseline=baseline, clock=clock, sender=sender, models=models, evidence=evidence)
