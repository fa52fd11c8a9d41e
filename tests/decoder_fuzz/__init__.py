"""Damaged binlogs against the decoder, in a build that watches every access to memory.

__main__   make fuzz-decoder: builds, starts workers, counts, keeps what they die of
   └─ worker   one process under AddressSanitizer and UBSan: cases one after the other, each to its end
        └─ mutations   a case: a few events of a recorded binlog, one of them damaged, or their order
             └─ corpus   recorded binlogs cut into units: FORMAT_DESCRIPTION and one small transaction
"""
