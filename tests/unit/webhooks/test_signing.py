from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from job_stores import NOW, make_delivery
from transcriber.domain.errors import InvalidParameterError
from transcriber.webhooks.signing import check_secret, key_of, signed_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_public_library_verifies_what_we_sign() -> None:
    delivery = make_delivery(secret=SECRET)

    headers = signed_headers(delivery, datetime.now(UTC))

    assert Webhook(SECRET).verify(delivery.payload, headers)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(delivery.payload + " ", headers)


def test_plain_text_signs_with_its_own_bytes() -> None:
    delivery = make_delivery(secret="correct horse battery staple")

    headers = signed_headers(delivery, datetime.now(UTC))

    Webhook(b"correct horse battery staple").verify(delivery.payload, headers)


def test_signature_of_the_specification_comes_out() -> None:
    """The example of the Standard Webhooks specification's own libraries."""
    delivery = make_delivery(
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        payload='{"test": 2432232314}',
    )

    headers = signed_headers(delivery, datetime.fromtimestamp(1614265330, UTC))

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_try_is_signed_at_its_own_time_under_one_id() -> None:
    delivery = make_delivery(secret=SECRET)

    first = signed_headers(delivery, NOW)
    second = signed_headers(delivery, NOW.replace(hour=5))

    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


def test_without_a_secret_there_is_no_signature() -> None:
    assert set(signed_headers(make_delivery(secret=""), NOW)) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        SECRET.rstrip("="),
        "whsec_" + base64.b64encode(b"k" * 24).decode(),
        "x" * 16,
        "x" * 128,
        "a b c d e f g h i",
    ],
)
def test_secret_that_can_sign_is_taken(secret: str) -> None:
    check_secret(secret)

    assert key_of(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        "x" * 129,
        "whsec_",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_this is not base64, is it now?",
        "whsec_" + "A" * 33,
        "ünicode passphrase",
        "line one\nline two of it",
    ],
)
def test_secret_that_can_not_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_secret(secret)

    assert caught.value.param == "webhook_secret"
    assert f"a text of {len(secret)} characters" in caught.value.message
    assert not secret or secret not in caught.value.message + caught.value.fix or secret == "whsec_"
