"""What Prometheus reads at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers, by path and status.", "path", "status")
        self.errors = self._counter("errors", "Refusals and failures, by their code.", "code")
        self.cancelled = self._counter("cancelled", "Requests whose client went before the answer.")
        self.pictures = self._counter("pictures", "Pictures painted, samples counted.")
        self.seconds = self._histogram("request_seconds", "From the first byte to the answer.", _SECONDS, "path")
        self.stages = self._histogram("stage_seconds", "Of one request, by stage.", _SECONDS, "stage")
        self.calls = self._histogram("engine_call_seconds", "One call of the engine.", _SECONDS)
        self.batch = self._histogram("engine_batch_size", "Windows in one call.", (1, 2, 4, 8, 16, 32, 64))
        shares = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
        self.holes = self._histogram("hole_share", "The part of a picture that is hole.", shares)
        self.waiting = self._gauge("queue_waiting", "Requests that wait.")
        self.working = self._gauge("queue_working", "Requests in work.")
        self.ready = self._gauge("ready", "1 while requests are taken.")

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"cmgan_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"cmgan_{name}", about, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"cmgan_{name}", about, registry=self.registry)
