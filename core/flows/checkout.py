"""Opening a checkout: the order is ours first, Paystack hears of it second."""

from core.domain.payments import Order, Provider
from core.errors import RefusedError, TransientError
from core.logs import get_logger
from core.payments.paystack import Checkout, Paystack
from core.store import ServiceStore
from core.store.payments import Wish

log = get_logger()
ATTEMPTS = 2


async def open_checkout(
    store: ServiceStore, paystack: Paystack, user_id: str, wish: Wish, callback_url: str | None
) -> tuple[Order, Checkout]:
    """Freeze an order and open a checkout for it.

    An unknown outcome is tried again under a new reference; the first attempt stays watched, because the
    buyer may yet pay it.

    Raises:
        RefusedError: no such package, another price, no e-mail, suspended, or Paystack will not open it.
        TransientError: Paystack or the database is away.
    """
    opened = await store.open_order(Provider.PAYSTACK, user_id, wish)
    for attempt in range(1, ATTEMPTS + 1):
        order = opened.order
        try:
            checkout = await paystack.initialize(
                reference=order.reference,
                email=opened.email,
                amount_subunits=order.amount_subunits,
                currency=order.currency,
                callback_url=callback_url,
            )
        except RefusedError as error:
            await store.refuse_checkout(order.reference, error.code)
            raise
        except TransientError as error:
            log.warning("checkout.attempt_failed", reference=order.reference, error=str(error))
            if attempt == ATTEMPTS:
                raise
            opened = await store.repeat_order(order.reference)
        else:
            await store.record_checkout(order.reference, checkout.authorization_url, checkout.access_code)
            return order, checkout
    raise AssertionError("the last attempt returns or raises")
