"""What is counted, for Prometheus. Labels are our own words: never an id, never a secret."""

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES = Counter(
    "keyfund_webhook_deliveries", "Paystack's deliveries, by how they were taken.", ["result"]
)
SETTLED = Counter("keyfund_payments_settled", "Looks at a payment, by what became of it.", ["outcome"])
PUSHES = Counter(
    "keyfund_pushes", "Visits to LiteLLM on behalf of an account, by how they ended.", ["outcome"]
)
KEYS = Counter("keyfund_keys_pushed", "Keys handled in these visits, by how each went.", ["outcome"])
CALL_SECONDS = Histogram(
    "keyfund_call_seconds",
    "Calls to LiteLLM and Paystack, in seconds.",
    ["gateway", "outcome"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 12),
)
DRIFT_CALL_SECONDS = Counter(
    "keyfund_drift_call_seconds",
    "Seconds that LiteLLM took to answer this worker's comparison of all keys, all calls together.",
)
DRIFT_KEYS = Counter("keyfund_drift_keys", "Keys that this worker's comparison found as they should be.")
WORKER_LOOKS = Gauge("keyfund_worker_looks", "1 for the worker that looks for work, 0 for the others.")
LIMITED = Counter("keyfund_api_limited", "Calls answered with 429, by who was counted.", ["caller"])
