"""What followed the last tokens before: in the same row, and in the rows trained on.

Shapes: B rows, T tokens a row, N lengths of n-grams. Nothing here has a gradient.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from trainer.harness.failures import ContractError


def read_lengths(name: str, text: str) -> list[int]:
    """The numbers in RECALL or MEMORY, which `name` is. Raises ContractError."""
    parts = text.split()
    if len(parts) > 16 or not all(part.isdecimal() and 1 <= int(part) <= 64 for part in parts):
        raise ContractError(f"{name} must be at most 16 numbers from 1 to 64, spaces between, not {text!r}")
    return [int(part) for part in parts]


def ngram_keys(tokens: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Hashes of the last n tokens at every place, for each n: int64 [N, B, T], from 0 to 2 ** 62 - 1."""
    key, keys = torch.zeros_like(tokens), []
    for back in range(max(lengths)):
        earlier = F.pad(tokens + 1, (back, 0))[:, : tokens.size(1)]  # 0 stands before the row
        key = (key + earlier) * 6364136223846793005
        key = key ^ (key >> 32)
        keys.append((key * 2862933555777941757) >> 2 & 2**62 - 1)
    return torch.stack([keys[length - 1] for length in lengths])


def recall(tokens: torch.Tensor, lengths: list[int], none: int) -> torch.Tensor:
    """For each n the token that followed the last n where these last stood in the row, or `none`: [N, B, T].

    What induction heads must learn to find is there from the first step (n-gram heads, arXiv:2401.12973).
    """
    bits = tokens.size(1).bit_length()
    places = torch.arange(tokens.size(1), device=tokens.device)
    # in this order the same n-gram's place before stands just before
    keys = (ngram_keys(tokens, lengths) >> bits << bits | places).sort(dim=-1).values
    before = F.pad(keys, (1, 0), value=-1)[..., :-1]
    known = keys >> bits == before >> bits
    place, after = keys & 2**bits - 1, torch.where(known, (before & 2**bits - 1) + 1, 0)
    followed = tokens.expand_as(after).gather(-1, after).masked_fill(~known, none)
    return torch.empty_like(followed).scatter(-1, place, followed)


class Memory(nn.Module):
    """What followed the n-grams of the rows trained on: two hash tables, of one half of the rows each.

    An entry holds, from the lowest bit, the token (16 bits), how sure it is (3) and a part of the n-gram's
    key (12, never 0) that tells apart those which share the entry; 0 is empty. As branches are predicted, it
    grows surer when the token follows again, less sure when another does, and then gives way.

    The first pass over the rows looks up what earlier rows left. In later passes a row would find itself and
    the model would trust that, so it looks into the other half's table only. A model that is scored looks
    into both.
    """

    slots: torch.Tensor
    rows_return: torch.Tensor

    def __init__(self, lengths: list[int], bits: int) -> None:
        super().__init__()
        if not 1 <= bits <= 26:
            raise ContractError(f"MEMORY_BITS must be from 1 to 26, not {bits}")
        self.lengths, self.size = lengths, 2**bits
        self.one_half = len(lengths) * self.size
        # one entry more takes what is not kept
        self.register_buffer("slots", torch.zeros(2 * self.one_half + 1, dtype=torch.int32))
        self.register_buffer("rows_return", torch.zeros((), dtype=torch.bool), persistent=False)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For each n the token that followed and how sure that is, 0 to 7 or -1 for not known: [N, B, T]."""
        index, check = self._places(tokens)
        own_half, found = self._half(tokens), []
        for half in range(2):
            entry = self.slots[index + half * self.one_half]
            hidden = self.rows_return & (own_half == half)
            known = (entry >> 19 == check) & ~hidden
            found.append((entry & 0xFFFF, torch.where(known, entry >> 16 & 7, -1)))
        (one, sure_of_one), (other, sure_of_other) = found
        agree = (one == other) & (sure_of_one >= 0) & (sure_of_other >= 0)
        sure = torch.where(agree, (sure_of_one + sure_of_other + 1).clamp_max(7), sure_of_one)
        return torch.where(sure_of_other > sure_of_one, other, one), torch.maximum(sure, sure_of_other)

    @torch.no_grad()
    def add(self, tokens: torch.Tensor, targets: torch.Tensor) -> None:
        """Notes that targets [B, T] followed tokens [B, T]. Of places that share an entry the one that leaves
        the greatest number counts, so that the order of the rows does not."""
        index, check = self._places(tokens)
        index = index + self._half(tokens) * self.one_half
        entry, target = self.slots[index], targets.to(torch.int32)
        sure = entry >> 16 & 7
        again = (entry >> 19 == check) & (entry & 0xFFFF == target)
        other = torch.where(sure > 0, entry - 2**16, check << 19 | target)
        entry = torch.where(again, torch.where(sure < 7, entry + 2**16, entry), other).flatten()
        ordered = (index.flatten() << 31 | entry).sort().values
        slot = ordered >> 31
        greatest = slot != F.pad(slot, (0, 1), value=-1)[1:]
        self.slots[torch.where(greatest, slot, 2 * self.one_half)] = (ordered & 2**31 - 1).to(torch.int32)
        self.slots[2 * self.one_half] = 0

    def _places(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys = ngram_keys(tokens, self.lengths)
        table = torch.arange(len(self.lengths), device=tokens.device)[:, None, None]
        return table * self.size + keys % self.size, ((keys >> 40) % 4095 + 1).to(torch.int32)

    def _half(self, tokens: torch.Tensor) -> torch.Tensor:
        """Which half of the rows each is in, by all of its tokens: [B, 1]."""
        places = torch.arange(tokens.size(1), device=tokens.device)
        return ((tokens * (2 * places + 1)).sum(dim=-1, keepdim=True) * 6364136223846793005) >> 62 & 1
