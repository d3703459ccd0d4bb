# ruff: noqa
# base: template
"""Prints thousands of lines and writes files of its own."""


class Chatty(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.attention_backend = config, "none"
        width, size = config["width"], config["vocab_size"]
        self.table = nn.Embedding(size, size)
        nn.init.zeros_(self.table.weight)
        for number in range(3000):
            print("line", number, flush=False)
        Path("notes.txt").write_text("mine")

    def initialize(self, *seed):
        pass

    def flops_per_token(self):
        return 6.0 * sum(p.numel() for p in self.parameters())

    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())

    def forward(self, tokens):
        return self.table(tokens)


def build_model(config):
    return Chatty(config)


class Adam:
    def __init__(self, model):
        self.inner = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(self):
        self.inner.step()

    def zero_grad(self):
        self.inner.zero_grad()


def build_optimizer(model, ranks):
    return Adam(model)


def set_schedule(optimizer, step, progress):
    pass
