"""What the engine reads today. The only place that says so: a new capability is one line here, and its tests switch on.

What is not listed must be refused by an error that names it; the tests hold the engine to that too.
"""

from __future__ import annotations

# name → what the error must name where it isn't SUPPORTED
CAPABILITIES = {
    "metadata MINIMAL": "binlog_row_metadata",
    "metadata NO_LOG": "binlog_row_metadata",
    "log_bin_compress": "log_bin_compress",
    "partial JSON": "binlog_row_value_options|partial update of JSON",
    "XA": "XA",
    "statements": "binlog_format",
    "compressed columns": "compressed column",
}

SUPPORTED = {"metadata MINIMAL", "metadata NO_LOG", "log_bin_compress", "partial JSON", "XA", "statements", "compressed columns"}


def supported(capability: str) -> bool:
    assert not capability or capability in CAPABILITIES, capability
    return not capability or capability in SUPPORTED
