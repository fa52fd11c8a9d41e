"""Feeds a word index from the text columns of a destination, with asyncio; prints what it does.

python examples/python/search_index.py tcp://127.0.0.1:7411/orders
"""

import asyncio
import re
import sys
from collections import defaultdict

import engine.aio

index: dict[str, set] = defaultdict(set)  # word → (table, primary key) of the rows that hold it


def words(row: dict | None) -> set[str]:
    return {word.lower() for value in (row or {}).values() if isinstance(value, str) for word in re.findall(r"\w+", value)}


async def main(url: str) -> None:
    async with engine.aio.connect(url, consumer="search") as stream:
        async for batch in stream:
            for change in batch:
                row = (change.table, change.key)
                for word in words(change.before) - words(change.after):
                    index[word].discard(row)
                    if not index[word]:
                        del index[word]
                for word in words(change.after):
                    index[word].add(row)
                print(f"{change.op:6} {change.schema}.{change.table} {change.key}: {len(index)} words")
            await batch.ack()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7411/orders"))
