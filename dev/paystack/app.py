"""Every route of the sandbox, on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from dev.paystack.failing import Failing
from dev.paystack.refusal import RefusedError
from dev.paystack.routes import checkout, controls, disputes, refunds, transactions
from dev.paystack.routes.asking import refused
from dev.paystack.sandbox import Sandbox

_PAYMENT = "/sandbox/transactions/{reference}"

ROUTES = [
    # As Paystack's API
    Route("/transaction/initialize", transactions.initialize, methods=["POST"]),
    Route("/transaction/verify/{reference}", transactions.verify),
    Route("/transaction", transactions.list_all),
    Route("/transaction/{id}", transactions.fetch),
    Route("/refund", refunds.create, methods=["POST"]),
    Route("/refund", refunds.list_all),
    Route("/refund/{id}", refunds.fetch),
    Route("/dispute", disputes.list_all),
    Route("/dispute/{id}", disputes.fetch),
    # As Paystack's hosted page
    Route("/checkout/{access_code}", checkout.show),
    Route("/checkout/{access_code}", checkout.choose, methods=["POST"]),
    # Controls
    Route("/sandbox", controls.status),
    Route("/sandbox/transactions", controls.transactions),
    Route(f"{_PAYMENT}/pay", controls.pay, methods=["POST"]),
    Route(f"{_PAYMENT}/fail", controls.settle, methods=["POST"]),
    Route(f"{_PAYMENT}/abandon", controls.settle, methods=["POST"]),
    Route(f"{_PAYMENT}/status", controls.settle, methods=["POST"]),
    Route(f"{_PAYMENT}/refund", controls.refund, methods=["POST"]),
    Route(f"{_PAYMENT}/dispute", controls.dispute, methods=["POST"]),
    Route("/sandbox/charges", controls.charge, methods=["POST"]),
    Route("/sandbox/refunds/{id}", controls.move_refund, methods=["POST"]),
    Route("/sandbox/disputes/{id}/remind", controls.remind, methods=["POST"]),
    Route("/sandbox/disputes/{id}/resolve", controls.resolve, methods=["POST"]),
    Route("/sandbox/deliveries", controls.deliveries),
    Route("/sandbox/deliveries/{id}/resend", controls.resend, methods=["POST"]),
    Route("/sandbox/misbehave", controls.misbehave, methods=["GET", "POST"]),
    Route("/sandbox/reset", controls.reset, methods=["POST"]),
    Route("/sandbox/rotate", controls.rotate, methods=["POST"]),
]


def create_app(sandbox: Sandbox) -> Starlette:
    """The sandbox as an ASGI app. Without a lifespan (inside a test) close the sandbox yourself."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sandbox.start()
        yield
        await sandbox.aclose()

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        exception_handlers={RefusedError: refused},
        middleware=[Middleware(Failing, sandbox=sandbox)],
    )
    app.state.sandbox = sandbox
    return app
