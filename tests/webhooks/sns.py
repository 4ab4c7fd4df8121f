"""Makes sns.json beside it: messages of SNS in both versions of the signature, signed by `cryptography` with a certificate of our own.

The rules of signing are those of docs.aws.amazon.com/sns, "Verifying the signatures of Amazon SNS messages".
`signed` and `certificate` are used by tests/webhooks.py as well.
"""

import base64
import datetime
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

TOPIC = "arn:aws:sns:eu-west-1:123456789012:feedback"
HOST = "sns.eu-west-1.amazonaws.com"
CERTIFICATE_URL = f"https://{HOST}/SimpleNotificationService-0a1b2c3d.pem"


def certificate(key, name="sns.amazonaws.com", issuer=None, names=()):
    """A certificate for `key`: by itself, or by `issuer`, a certificate with its key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(datetime.datetime(2049, 1, 1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    else:
        builder = builder.add_extension(x509.BasicConstraints(issuer is None, None), True)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM).decode()


def signed(message, key, version="2"):
    """The message with its signature."""
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if message["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303
    signature = key.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**message, "SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}


def message(kind, timestamp, number, **more):
    """An unsigned message."""
    return {"Type": kind, "MessageId": f"00000000-0000-0000-0000-{number:012}", "TopicArn": TOPIC, "Timestamp": timestamp, "SigningCertURL": CERTIFICATE_URL, **more}


def main():
    key = rsa.generate_private_key(65537, 2048)
    at = "2026-11-29T09:59:00.000Z"
    event = json.dumps({"eventType": "Delivery", "mail": {"messageId": "m1"}, "delivery": {"recipients": ["ann@example.com"]}})
    notification = message("Notification", at, 1, Subject="Amazon SES Email Event Notification", Message=event + "\n")
    confirmation = message("SubscriptionConfirmation", at, 2, Token="2336412f", Message="You have chosen to subscribe", SubscribeURL=f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f")
    messages = [signed(one, key, version) for one in (notification, confirmation) for version in "12"]
    made = {"certificate": pem(certificate(key)), "messages": messages}
    Path(__file__).with_name("sns.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
