"""Metrics for Prometheus: what is counted, where it is counted, and how it is asked for.

    instruments.py  every metric with its name, labels and words: the list
    labels.py       what keeps labels few: models, users and methods beyond a bound are `other`
    series.py       the way from an event to a series
    requests.py     what the layer `MetricsMiddleware` saw, counted
    records.py      what was recorded, counted: an observer of the sink
    readings.py     what others count or hold already, read when somebody asks
    metrics.py      these together, for one gateway
    exposition.py   the answer to `GET /metrics`: as a route, and on a port of its own
    workers.py      several processes, one answer

`deploy/docs/metrics.md` describes each metric to operators; a test holds the two together.
"""
