"""`engine.connect` for asyncio.

async with engine.aio.connect("tcp://127.0.0.1:7411/orders", consumer="cache") as stream:
    async for batch in stream:
        for change in batch:
            ...
        await batch.ack()
"""

from engine.client.aio import Batch, Stream, connect

__all__ = ["Batch", "Stream", "connect"]
