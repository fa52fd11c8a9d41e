"""One change as one line, for people (`tail` and `decode` without `--json`)."""

from __future__ import annotations

from typing import Any

from engine.client.change import Change, Ddl, History, Item

_LONGEST_VALUE = 60


def text_line(event: Item) -> str:
    """`2026-11-23T04:14:25.720253Z update shop.orders id=5: status new → paid  (binlog.000001:1234)`."""
    fields = event.to_json()
    head = f"{fields['ts']} {fields['op']:6}"
    where = f"({fields['position']})"
    if isinstance(event, Change | History):
        return f"{head} {event.schema}.{event.table} {_row_text(event)}  {where}"
    if isinstance(event, Ddl):
        return f"{head} {' '.join(str(fields['sql']).split())}  {where}"
    return f"{head} {fields['gtid'] or ''}  {where}"


def _row_text(change: Change | History) -> str:
    before, after = change.before, change.after
    if before is not None and after is not None:
        changed = [
            f"{name} {_short(before[name])} → {_short(value)}" if name in before else f"{name} → {_short(value)}"
            for name, value in after.items()
            if before.get(name) != value or name not in before
        ]
        return f"{change.key}: {', '.join(changed) or 'nothing changed'}"
    row: dict[str, Any] = (after if after is not None else before) or {}
    return ", ".join(f"{name} {_short(value)}" for name, value in row.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
