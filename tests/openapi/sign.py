"""Signs what is sent to the webhook route, as Clerk's sender does, so that the fuzzing gets past the signature."""

import base64
import hashlib
import hmac
import os
import time
import uuid

import requests.auth
import schemathesis


class Signed(requests.auth.AuthBase):
    def __init__(self, secret):
        self.key = base64.b64decode(secret.strip().removeprefix("whsec_"))

    def __call__(self, request):
        # What is sent without one of these is to be refused.
        if any(name not in request.headers for name in ("svix-id", "svix-timestamp", "svix-signature")):
            return request
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        message, now = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
        content = b".".join([message.encode(), now.encode(), body])
        signature = base64.b64encode(hmac.new(self.key, content, hashlib.sha256).digest()).decode()
        request.headers["svix-id"] = message
        request.headers["svix-timestamp"] = now
        request.headers["svix-signature"] = f"v1,{signature}"
        return request


with open(os.environ["ROSTER_WEBHOOK_SECRET_FILE"]) as file:
    SIGNED = Signed(file.read())


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path == "/webhooks/clerk":
        kwargs["auth"] = SIGNED
