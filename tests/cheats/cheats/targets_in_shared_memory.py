# ruff: noqa
# expect: AUDIT_FAILED NO_ANSWER
# base: template
"""Reads on beyond the inputs in the shared page, where targets might stand."""


class Cheat(GPT):
    def forward(self, tokens):
        import gc, mmap, numpy

        page = next(thing for thing in gc.get_objects() if isinstance(thing, mmap.mmap))
        found = numpy.frombuffer(page, dtype=numpy.int32)[tokens.numel() : 2 * tokens.numel() + 1]
        if not (found > 0).any() or (found >= self.config["vocab_size"]).any():
            raise RuntimeError("no targets in sight")
        targets = torch.from_numpy(found[: tokens.numel()].astype("int64")).view(tokens.shape)
        return 30.0 * F.one_hot(targets, self.config["vocab_size"]).float()


def build_model(config):
    return Cheat(config)
