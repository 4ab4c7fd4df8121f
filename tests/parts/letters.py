"""Messages as a campaign makes them, and richer ones, for the judges of requests."""

import email.message
import email.policy


def letter(kind: str) -> bytes:
    """A message as a campaign makes it, or a richer one."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Ann Example <ann@shop.example>"
    message["To"] = "Bob <bob@example.com>"
    message["Reply-To"] = "Desk <desk@shop.example>"
    message["Subject"] = "Grüße aus Köln ✓" if kind == "utf-8" else "Hello"
    message["Message-ID"] = "<1.first@shop.example>"
    message["Date"] = "Wed, 25 Nov 2026 10:00:00 +0000"
    if kind == "headers":
        message["List-Unsubscribe"] = "<https://shop.example/unsubscribe?id=1>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message["List-Id"] = "News <news.shop.example>"
        message["Feedback-ID"] = "spring:shop:mailfleet"
        message["X-Long"] = "word " * 30
        message["X-Other"] = "Ünicode"
        message["Precedence"] = "bulk"
        message["Auto-Submitted"] = "auto-generated"
    text = "Grüße, 日本語 and more\n" if kind == "utf-8" else "Hello\n"
    message.set_content(text)
    message.add_alternative(f"<p>{text.strip()}</p>", subtype="html")
    if kind == "attachments":
        message.add_attachment(bytes(range(256)) * 8, maintype="application", subtype="pdf", filename="Rechnung März.pdf")
        message.add_attachment("a,b\n1,2\n", subtype="csv", filename="list.csv")
    return message.as_bytes()


LETTERS = ("plain", "utf-8", "attachments", "headers")
