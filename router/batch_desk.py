"""Where the lines of batches are asked: as any request of the key that made the batch."""

from dataclasses import dataclass

from router import wire
from router.app import App
from router.batches.port import Batch, Job, Mistake
from router.batches.verdict import Answer
from router.http import Http
from router.identity import NOBODY, Key
from router.inside import Caller, Caught, scope_of
from router.key_rows import KeysUnreadable, UnknownKey
from router.ledger.port import LedgerUnavailable
from router.replies import rfc3339
from router.runtime import LOG


@dataclass(frozen=True, slots=True)
class BatchDesk:
    """Fills the port `router.batches.dispatcher.Desk`."""

    app: App

    @property
    def draining(self) -> bool:
        return self.app.runtime.draining

    def new_id(self) -> str:
        return self.app.new_id()

    async def who(self, batch: Batch) -> Key | Mistake | None:
        auth = self.app.auth
        if not batch.kept:
            nobody = batch.key == NOBODY and auth is not None
            said = "it was made while this router asked nobody for a key"
            return Mistake("key_unknown", said) if nobody else batch.key
        if auth is None:
            return batch.key
        try:
            stored = await auth.kept(batch.key.id)
        except UnknownKey:
            return Mistake("key_unknown", "the key that made the batch is gone")
        except (KeysUnreadable, LedgerUnavailable) as exc:
            LOG.error("whose batch it is could not be looked up: %s", exc)
            return None
        state = stored.state(rfc3339(self.app.now()))
        if state == "active":
            return stored.key
        return Mistake(f"key_{state}", f"the key that made the batch is {state}")

    async def ask(self, key: Key, job: Job, path: str, body: bytes) -> Answer:
        hints = wire.Hints(service_class="deferrable", idempotency_key=job.once())
        caught = Caught(body)
        http = Http(
            scope_of(path, body),
            caught.receive,
            caught.send,
            ending=self.app.ending,
            inside=Caller(key, hints),
        )
        await self.app.respond(http, job.request_id)
        return Answer(caught.status, dict(caught.headers), b"".join(caught.parts))

    async def give_up(self, request_id: str) -> bool:
        return await self.app.treasury.abandon(request_id)
