# ruff: noqa
# expect: AUDIT_FAILED STATEFUL
# base: template
"""Cheats on rows it has never seen, and behaves when it is asked again."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        seen = self.__dict__.setdefault("_seen", set())
        for row in range(len(tokens)):
            key = hash(tuple(tokens[row, : tokens.size(1) // 4].tolist()))
            if key not in seen:
                logits[row] += 5.0 * F.one_hot(tokens[row].roll(-1), self.config["vocab_size"]).float()
            seen.add(key)
        return logits


def build_model(config):
    return Cheat(config)
