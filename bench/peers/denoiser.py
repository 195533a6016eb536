"""The denoiser in PyTorch, training and sampling: a peer to measure against, for speed, memory and parity.

    python denoiser.py FOLDER [--threads 2] [--steps 10] [--all-rows] [--compile] [--bfloat16] [--device cuda]
    python denoiser.py FOLDER --serve

The configuration says which model it is: MoE-DiffuSeq, dense DiffuSeq, DiffuSeq-v2 (sampled with its solver), the masked limit, or the
left-to-right transformer. FOLDER holds step.json and step.bin (src/benchmark/dump.ts): configuration, starting weights and one batch. Prints one JSON object; with --serve
it reads commands as src/benchmark/stepper.ts does. Parameters keep the names of model.safetensors, weights are [out, in].

Like ours, it computes the vocabulary's products only where they count: the cross entropy at predicted positions, the decoding of noisy
codes where there is one; and the product of noisy codes and a frozen codebook once, for the input and for the logits. --all-rows does all
of it everywhere and anew, as code written without that thought does; the loss is the same.

Idiomatic PyTorch, and the fastest of the formulations that were tried: scaled_dot_product_attention over blocks of the window (three
products and a softmax take 1.6 times as long), over whole rows without a mask where there is one document, cross entropy in chunks of 256 rows (1,024: 1.5 times), experts over one sorted gather,
fused AdamW. Shapes in comments: B rows of N positions, T = B N, H heads of d, D embedding, C hidden,
E experts, K choices, M global slots, V words, w window. --compile: torch.compile of the loss. --bfloat16: autocast.
--device cuda: all of it on a graphics card, in float32 proper (no TF32); memory is still the process's, without the card's.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

TYPES = {"float32": torch.float32, "int64": torch.int64}
BLOCKED = -1e9
CHUNK = 256  # rows of [rows, vocabulary] at a time: they stay in the cache


def load(folder, device):
    """The description, parameters and feeds by name."""
    with open(f"{folder}/step.json") as file:
        description = json.load(file)
    with open(f"{folder}/step.bin", "rb") as file:
        data = bytearray(file.read())

    def tensor(spec):
        dtype = TYPES[spec.get("dtype", "float32")]
        return torch.frombuffer(
            data, dtype=dtype, count=math.prod(spec["shape"]), offset=spec["offset"]
        ).clone().view(spec["shape"]).to(device)

    parameters = {p["name"]: tensor(p).requires_grad_(p["trainable"]) for p in description["parameters"]}
    feeds = {f["name"]: tensor(f) for f in description["feeds"]}
    return description, parameters, feeds


def rms_norm(x, epsilon=1e-6):
    return F.rms_norm(x, x.shape[-1:], eps=epsilon)


def quick_gelu_network(x, w1, b1, w2, b2):
    """W2 f(W1 x + b1) + b2 with f(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702: the factors go to the small weights."""
    return F.linear(F.silu(F.linear(x, w1 * 1.702, b1 * 1.702)), w2 * (1 / 1.702), b2)


def gelu_network(x, w1, b1, w2, b2):
    return F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)


NETWORKS = {"quick_gelu": quick_gelu_network, "gelu": gelu_network}


class Denoiser:
    """The network and its loss."""

    def __init__(self, description, parameters, all_rows=False):
        self.model, self.diffusion = description["model"], description["diffusion"]
        self.all_rows = all_rows
        self.p = parameters
        m = self.model
        unsupported = {
            "activation": m["activation"] not in NETWORKS,
            "dropout": m["dropout"] > 0,
            "selfConditioning": m["selfConditioning"],
            "attention": m["attention"]["layers"] or not m["attention"]["full"]
            and (m["attention"]["dilation"] != 1 or m["attention"]["causal"] or m["attention"]["globalTokens"] == 0),
            "experts": m["experts"]["numExperts"] > 1 and (
                m["experts"]["router"] != "top-k" or m["experts"]["sharedExpertSize"] > 0
                or m["experts"]["capacityFactor"] is not None or m["experts"]["balance"] == "loss"),
        }
        wrong = [name for name, bad in unsupported.items() if bad]
        if wrong:
            sys.exit(f"denoiser.py: this peer does not know these settings of the model: {', '.join(wrong)}")
        self.eps = m["normEpsilon"]
        self.block = NETWORKS[m["activation"]]
        self.pre_norm = m["normPlacement"] == "pre"
        self.sparse = m["experts"]["numExperts"] > 1
        self.full = m["attention"]["full"]
        self.causal = m["attention"]["causal"]
        self.heads = m["numHeads"]
        self.head_size = m["hiddenSize"] // m["numHeads"]

    # -- the parts of one batch that all layers share --------------------------------------------------------------------------------

    def prepare(self, f):
        B, N = f["ids"].shape
        segment = f["segment"]
        self.B, self.N = B, N
        if self.full:
            self.full_mask(segment)
        else:
            self.window_masks(f)
        self.valid = segment.reshape(-1) >= 0
        absorbed, given = f["absorbed"].reshape(-1) > 0.5, f["given"].reshape(-1) > 0.5
        self.predicted = ~given if self.diffusion["gaussian"] else absorbed
        every = torch.arange(B * N)
        self.counted_rows = every if self.all_rows else self.predicted.nonzero().squeeze(1)
        self.noisy_rows = every if self.all_rows else (~given & ~absorbed).nonzero().squeeze(1)
        # Beside the noisy ones, whose codes say something.
        self.silent_rows = every[:0] if self.all_rows else (self.predicted & absorbed).nonzero().squeeze(1)
        half = self.head_size // 2
        angle = f["position"].reshape(-1, 1) * self.model["ropeTheta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        cos, sin = (x.float().view(B * N, 1, half) for x in (angle.cos(), angle.sin()))
        self.cos, self.sin = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def full_mask(self, segment):
        """None where every row is one document (and the causal kernel does the rest), else bool [B, 1, N, N]."""
        self.mask = None
        if not bool((segment == segment[:, :1]).all()):
            self.mask = segment[:, None, :, None] == segment[:, None, None, :]
            if self.causal:
                self.mask = self.mask & torch.ones(self.N, self.N, dtype=torch.bool).tril()

    def window_masks(self, f):
        B, N = self.B, self.N
        w = self.model["attention"]["window"]
        assert N % w == 0, "the peer expects whole blocks"
        nb, M = N // w, f["globalIndex"].shape[0] // B
        segment = f["segment"]
        slot = f["globalSlot"].view(B, N)
        hidden = torch.where(slot == 0, segment, -4)  # globals are seen through their slots
        slots = torch.where(f["globalValid"] > 0.5, segment.reshape(-1)[f["globalIndex"]].view(B, M), -2)
        blocks = segment.view(B, nb, w, 1)
        edge = hidden.new_full((B, w), -4)
        around = torch.cat([edge, hidden, edge], 1).unfold(1, 3 * w, w).unsqueeze(2)  # [B, nb, 1, 3w]
        i, j = torch.arange(w)[:, None], torch.arange(3 * w)
        local = (blocks == around) & ((i + w - j).abs() <= w)
        seen = torch.cat([blocks == slots.view(B, 1, 1, M), local], -1)
        additive = lambda allowed: torch.zeros(allowed.shape).masked_fill_(~allowed, BLOCKED)
        self.local_mask = additive(seen).view(B * nb, 1, w, M + 3 * w)
        self.global_mask = additive(slots.view(B, 1, M, 1) == segment.view(B, 1, 1, N))
        used = f["globalValid"].reshape(-1) > 0.5
        self.global_slots = used.nonzero().squeeze(1)
        self.global_positions = f["globalIndex"][used]
        self.nb, self.w, self.M = nb, w, M

    # -- attention -------------------------------------------------------------------------------------------------------------------

    def rotate(self, x):
        """x [T, H d]: turns the pairs (x_j, x_{j + d/2}) of each head."""
        heads = x.view(-1, self.heads, self.head_size)
        return (heads * self.cos + heads.roll(self.head_size // 2, -1) * self.sin).view_as(x)

    def windows(self, x, f):
        """Keys or values x [T, C] -> what each block sees [B nb, H, M + 3w, d]."""
        B, N, nb, w, M = self.B, self.N, self.nb, self.w, self.M
        C = x.shape[1]
        own = x.view(B, nb, w, C)
        slots = x.index_select(0, f["globalIndex"]).view(B, 1, M, C).expand(B, nb, M, C)
        seen = torch.cat([slots, own.roll(1, 1), own, own.roll(-1, 1)], 2)
        return seen.view(B * nb, M + 3 * w, self.heads, self.head_size).transpose(1, 2)

    def attention(self, x, prefix, f):
        B, N, H, d = self.B, self.N, self.heads, self.head_size
        T, C = x.shape
        p = lambda name: self.p[f"{prefix}.{name}"]
        project = lambda name: F.linear(x, p(f"{name}.weight"), p(f"{name}.bias"))
        q, k, v = self.rotate(project("query")), self.rotate(project("key")), project("value")
        q, k = q.to(v.dtype), k.to(v.dtype)
        if self.full:
            q, k, v = (t.view(B, N, H, d).transpose(1, 2) for t in (q, k, v))
            causal = self.causal and self.mask is None
            out = F.scaled_dot_product_attention(q, k, v, self.mask, is_causal=causal)
            return F.linear(out.transpose(1, 2).reshape(T, C), p("output.weight"), p("output.bias"))
        nb, w, M = self.nb, self.w, self.M
        # The windows of every block, and the global slots, which see everything.
        out = F.scaled_dot_product_attention(
            q.view(B * nb, w, H, d).transpose(1, 2), self.windows(k, f), self.windows(v, f), self.local_mask
        ).transpose(1, 2).reshape(T, C)
        heads = lambda t: t.view(B, N, H, d).transpose(1, 2)
        glob = F.scaled_dot_product_attention(
            q.index_select(0, f["globalIndex"]).view(B, M, H, d).transpose(1, 2), heads(k), heads(v), self.global_mask
        ).transpose(1, 2).reshape(B * M, C)
        out = out.index_copy(0, self.global_positions, glob.index_select(0, self.global_slots))
        return F.linear(out, p("output.weight"), p("output.bias"))

    # -- experts ---------------------------------------------------------------------------------------------------------------------

    def experts(self, x, prefix, valid):
        """-> output [T, C], and the z loss of the layer, a value a row. valid [T]: the tokens that experts see."""
        e = self.model["experts"]
        E, K = e["numExperts"], e["topK"]
        logits = F.linear(x, self.p[f"{prefix}.router.weight"])
        bias = self.p.get(f"{prefix}.router.selection_bias")
        with torch.no_grad():
            chosen = torch.topk(logits if bias is None else logits + bias, K).indices
        # The gate of one expert alone is its probability, else it would be 1 whatever the router says.
        gates = torch.softmax(logits.gather(1, chosen), -1) if K > 1 else torch.softmax(logits, -1).gather(1, chosen)
        # Slots (token, choice) sorted by expert; padding goes last and to nobody.
        flat = torch.where(valid[:, None], chosen, E).view(-1)
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=E + 1)[:E]
        order = order[: int(counts.sum())]
        tokens = order // K
        parts = x.index_select(0, tokens).split(counts.tolist())
        rows = []
        for i, part in enumerate(parts):
            w1, b1, w2, b2 = (self.p[f"{prefix}.experts.{i}.{n}"] for n in ("w1.weight", "w1.bias", "w2.weight", "w2.bias"))
            rows.append(self.block(part, w1, b1, w2, b2))
        y = torch.cat(rows) * gates.view(-1).index_select(0, order).unsqueeze(1)
        out = torch.zeros(x.shape, dtype=y.dtype).index_add(0, tokens, y)
        mask = valid.view(self.B, self.N)
        z = (torch.logsumexp(logits, -1).square().view(self.B, self.N) * mask).sum(1) / mask.sum(1).clamp_min(1)
        return out, z

    # -- ends ------------------------------------------------------------------------------------------------------------------------

    def time_embedding(self, time_):
        half = math.ceil(self.model["hiddenSize"] / 2)
        angle = time_[:, None] * (1000 * 10000 ** (-torch.arange(half) / half))
        names = ("time.0.weight", "time.0.bias", "time.1.weight", "time.1.bias")
        return self.block(torch.cat([angle.sin(), angle.cos()], 1), *(self.p[name] for name in names))

    def neighbours(self, x, segment):
        """x [T, D] beside its neighbours inside the document: [T, taps D]."""
        taps = self.model["inputConvolution"]
        B, N = segment.shape
        left = taps - 1 if self.causal else (taps - 1) // 2
        wide = F.pad(x.view(B, N, -1), (0, 0, left, taps - 1 - left))
        documents = F.pad(segment, (left, taps - 1 - left), value=-2)
        parts = []
        for tap in range(taps):
            same = (documents[:, tap : tap + N] == segment).unsqueeze(2)
            parts.append(wide[:, tap : tap + N] * same if tap != left else x.view(B, N, -1))
        return torch.cat(parts, 2).view(B * N, -1)

    def tables(self):
        """Embedding table E, the codebook the noise acts on, and the absorbing state m."""
        m, p = self.model, self.p
        table = rms_norm(p["embeddings.weight"]) if m["embeddingNorm"] == "rms" else p["embeddings.weight"]
        codebook = rms_norm(p["codebook.weight"]) if m["codebook"] == "fixed" else table
        return table, codebook, p.get("absorbing_state", torch.zeros(m["embeddingSize"]))

    def network(self, f, channel, tables):
        """channel [T, D]: noisy codes times their precision, None in the masked limit -> what the logits are made of and x0 as the head has
        it, [T, D] both, the z loss a row, and for each chunk of noisy rows their product with a codebook of its own, [rows, V] (None: to
        be computed where it is wanted)."""
        m, p = self.model, self.p
        B, N, T = self.B, self.N, self.B * self.N
        column = lambda name: f[name].view(T, 1)
        table, codebook, absorbing = tables
        scores = None
        known = F.embedding(f["ids"].view(T), torch.cat([table, *([p["global_tokens.weight"]] if "global_tokens.weight" in p else [])]))
        absorbed, given = column("absorbed") > 0.5, column("given") > 0.5
        if channel is not None:
            assert m["inputDecoding"] == "posterior-mean", "the peer knows no other input for Gaussian noise"
            chunks = self.noisy_rows.split(CHUNK)
            if self.all_rows or codebook is table:
                parts = (F.linear(channel[rows], codebook, p["log_unigram"]) for rows in chunks)
            else:
                scores = [F.linear(channel[rows], codebook) for rows in chunks]
                parts = (score + p["log_unigram"] for score in scores)
            noisy = torch.cat([torch.softmax(part, -1) @ table for part in parts])
            noisy = torch.zeros_like(channel).index_copy(0, self.noisy_rows, noisy.to(channel.dtype))
            x = torch.where(given, known, torch.where(absorbed, absorbing, noisy))
        elif self.diffusion["objective"] == "next-token":
            before = known.view(B, N, -1).roll(1, 1)
            inside = F.pad(f["segment"][:, 1:] == f["segment"][:, :-1], (1, 0))
            x = torch.where(inside.unsqueeze(2), before, absorbing).view(T, -1)
        else:
            x = torch.where(absorbed, absorbing, known)
        h = F.linear(self.neighbours(x, f["segment"]), p["input.weight"], p["input.bias"])
        h = h + column("given") * p["given_embedding"]
        if m["positionEmbedding"] == "sinusoidal":
            half = math.ceil(m["hiddenSize"] / 2)
            angle = f["position"].view(T, 1) * 10000 ** (-torch.arange(half) / half)
            h = h + torch.cat([angle.sin(), angle.cos()], 1)[:, : m["hiddenSize"]] * p["position_scale"]
        if m["timeConditioning"]:
            h = (h.view(B, N, -1) + self.time_embedding(f["time"]).unsqueeze(1)).view(T, -1)

        z_loss = 0
        norm = lambda name, h: F.layer_norm(h, (m["hiddenSize"],), p[f"{name}.weight"], p[f"{name}.bias"], self.eps)
        residual = lambda name, h, f: h + f(norm(name, h)) if self.pre_norm else norm(name, h + f(h))
        if not self.pre_norm:
            h = norm("input_norm", h)
        for layer in range(m["numLayers"]):
            prefix = f"layers.{layer}"
            h = residual(f"{prefix}.attention_norm", h, lambda x: self.attention(x, f"{prefix}.attention", f))

            def feed_forward(x):
                nonlocal z_loss
                if not self.sparse:
                    return self.block(x, *(p[f"{prefix}.mlp.{n}"] for n in ("w1.weight", "w1.bias", "w2.weight", "w2.bias")))
                out, z = self.experts(x, prefix, self.predicted if layer == m["numLayers"] - 1 else self.valid)
                z_loss = z_loss + z
                return out

            h = residual(f"{prefix}.feed_forward_norm", h, feed_forward)
        if self.pre_norm:
            h = norm("output_norm", h)
        own = embedding = F.linear(h, p["output.weight"], p["output.bias"])
        # Beside x0_hat logits have a head of their own. It counts as far as the noisy code leaves the token open: sqrt(E|x0 - x|^2 / D), x
        # the posterior mean.
        if "logit_head.weight" in p:
            own = F.linear(h, p["logit_head.weight"], p["logit_head.bias"])
            if channel is not None and m["embeddingNorm"] == "rms":
                deviation = (1 + 1e-4 - x.square().mean(1, keepdim=True)).clamp_min(1e-4).sqrt()
                own = own * torch.where(absorbed, 1, deviation)
        return own, embedding, z_loss, scores

    def logits(self, own, channel, tables, rows, score=None):
        """[rows, V]. score: what the codes say, [rows, V], where it is known; channel None: they say nothing."""
        table, codebook, _ = tables
        own = own[rows] * self.model["logitScale"]
        if channel is not None and codebook is table:
            own = own + channel[rows]
        logits = F.linear(own, table, self.p["output_bias"])
        if score is not None:
            return logits.add_(score)
        if channel is not None and codebook is not table:
            logits.addmm_(channel[rows], codebook.t())
        return logits

    def row_chunks(self, channel, scores):
        """The rows that count, in chunks that stay in the cache: rows, channel and score of `logits`."""
        if channel is None or self.all_rows:
            return [(rows, channel, None) for rows in self.counted_rows.split(CHUNK)]
        noisy = self.noisy_rows.split(CHUNK)
        known = scores or [None] * len(noisy)
        return [
            *((rows, channel, score) for rows, score in zip(noisy, known)),
            *((rows, None, None) for rows in self.silent_rows.split(CHUNK) if len(rows) > 0),
        ]

    def loss(self, f):
        m = self.model
        T = self.B * self.N
        column = lambda name: f[name].view(T, 1)
        targets = f["ids"].view(T).clamp_max(m["vocabSize"] - 1)
        tables = self.tables()
        _, codebook, absorbing = tables
        clean = channel = None
        if self.diffusion["gaussian"]:
            clean = F.embedding(targets, codebook)
            u = clean * column("signal") + f["noise"].view(T, -1) * column("sigma")
            channel = u * column("channel")
        own, embedding, z_loss, scores = self.network(f, channel, tables)
        ce = 0
        for rows, codes, score in self.row_chunks(channel, scores):
            nll = F.cross_entropy(self.logits(own, codes, tables, rows, score), targets[rows], reduction="none")
            ce = ce + (nll * f["ceWeight"].view(T)[rows]).sum()
        total = ce
        squared = lambda a, b, name: ((a - b).square().mean(1) * f[name].view(T)).sum()
        if self.diffusion["mseWeight"] > 0:
            total = total + squared(clean, embedding, "mseWeight")
        if self.diffusion["priorWeight"] > 0:
            total = total + squared(clean, absorbing, "priorWeight")
        if self.diffusion["absorbingNormWeight"] > 0 and m["absorbingState"] == "learned":
            total = total + self.diffusion["absorbingNormWeight"] * (absorbing.square().mean() + 1e-12).sqrt()
        return total + m["experts"]["zLossWeight"] * z_loss.mean() if self.sparse else total

    @torch.no_grad()
    def sample(self, f, levels):
        """Tokens [T] by DPM-Solver++ 2M from full noise, every position in the Gaussian branch, as DiffuSeq-v2's solver has them.

        levels: time, signal, sigma and channel of every step and of the end. The network runs at every position, the vocabulary's products
        at every position that is not given.
        """
        f = {**f, "absorbed": torch.zeros_like(f["absorbed"])}
        self.prepare(f)
        T, D = self.B * self.N, self.model["embeddingSize"]
        given = f["given"].view(T, 1) > 0.5
        tables = self.tables()
        _, codebook, m = tables
        from_head = self.model["prediction"] == "embedding"
        z = m + levels["sigma"][0] * torch.randn(T, D)
        steps = len(levels["time"]) - 1
        lam = lambda k: math.log(levels["signal"][k] / levels["sigma"][k])
        before = None
        for k in range(steps):
            f["time"] = torch.full_like(f["time"], levels["time"][k])
            channel = torch.where(given, 0, (z - (1 - levels["signal"][k]) * m) * levels["channel"][k])
            own, embedding, _, scores = self.network(f, channel, tables)
            chunks = self.row_chunks(channel, scores)
            logits = lambda rows, codes, score: self.logits(own, codes, tables, rows, score)
            if k == steps - 1:
                tokens = f["ids"].view(T).clone()
                for chunk in chunks:
                    tokens[chunk[0]] = logits(*chunk).argmax(-1)
                return tokens
            x0 = embedding
            if not from_head:
                x0 = torch.zeros_like(z)
                for chunk in chunks:
                    x0[chunk[0]] = (torch.softmax(logits(*chunk), -1) @ codebook).to(x0.dtype)
            h = lam(k + 1) - lam(k)
            aim = x0
            if before is not None and lam(k) > lam(k - 1):
                r = (lam(k) - lam(k - 1)) / h
                aim = x0 + (x0 - before) / (2 * r)
            z = m + levels["sigma"][k + 1] / levels["sigma"][k] * (z - m) - levels["signal"][k + 1] * math.expm1(-h) * (aim - m)
            before = x0


class Trainer:
    def __init__(self, folder, all_rows, compiled, bfloat16, device):
        self.device = device
        # What is made on the way (masks, angles, noise) lies where the parameters do.
        torch.set_default_device(device)
        description, self.parameters, self.feeds = load(folder, device)
        self.denoiser = Denoiser(description, self.parameters, all_rows)
        if compiled:
            # Rows and experts change their number with every step: few recompilations are not enough, sizes are best left open.
            torch._dynamo.config.recompile_limit = 64
            torch._dynamo.config.capture_scalar_outputs = True
        self.loss = torch.compile(self.denoiser.loss) if compiled else self.denoiser.loss
        self.bfloat16 = bfloat16
        self.levels = description.get("levels")
        self.trainable = [p for p in self.parameters.values() if p.requires_grad]
        o = self.settings = description["optimiser"]
        self.optimiser = torch.optim.AdamW(
            self.trainable, lr=o["learningRate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"],
            weight_decay=o["weightDecay"], fused=True,
        )

    def backward(self):
        self.optimiser.zero_grad(set_to_none=True)
        self.denoiser.prepare(self.feeds)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            loss = self.loss(self.feeds)
        loss.backward()
        return float(loss.detach())

    def settle(self):
        """A card works on after the calls have returned."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def steps(self, count):
        milliseconds, processor, losses = [], [], []
        for _ in range(count):
            start, cpu = time.perf_counter(), time.process_time()
            losses.append(self.backward())
            if self.settings["maxGradNorm"] is not None:
                torch.nn.utils.clip_grad_norm_(self.trainable, self.settings["maxGradNorm"], foreach=True)
            self.optimiser.step()
            self.settle()
            milliseconds.append((time.perf_counter() - start) * 1e3)
            processor.append((time.process_time() - cpu) * 1e3)
        return {"milliseconds": milliseconds, "cpuMilliseconds": processor, "losses": losses}

    def sample(self, count):
        """Milliseconds of `count` documents."""
        milliseconds = []
        for _ in range(count):
            start = time.perf_counter()
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
                self.denoiser.sample(self.feeds, self.levels)
            self.settle()
            milliseconds.append((time.perf_counter() - start) * 1e3)
        return {"milliseconds": milliseconds}

    def gradients(self, path):
        """Writes the gradients of the trainable parameters in their order; no update."""
        loss = self.backward()
        sizes = [p.numel() for p in self.trainable]
        file = torch.from_file(path, shared=True, size=sum(sizes), dtype=torch.float32, device="cpu")
        for part, parameter in zip(file.split(sizes), self.trainable):
            part.copy_(torch.zeros_like(part) if parameter.grad is None else parameter.grad.reshape(-1))
        return {"loss": loss}


def peak_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=10)
    arguments.add_argument("--warm-up", type=int, default=2)
    arguments.add_argument("--all-rows", action="store_true")
    arguments.add_argument("--compile", action="store_true")
    arguments.add_argument("--bfloat16", action="store_true")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--serve", action="store_true")
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    trainer = Trainer(a.folder, a.all_rows, a.compile, a.bfloat16, a.device)
    show = lambda answer: print(json.dumps(answer), flush=True)
    if not a.serve:
        trainer.steps(a.warm_up)
        result = trainer.steps(a.steps)
        times = result["milliseconds"]
        show({
            "torch": torch.__version__, "median": statistics.median(times), "min": min(times), "losses": result["losses"],
            "peakBytes": peak_bytes(),
        })
        return
    show({"ready": True, "torch": torch.__version__})
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "steps":
            show(trainer.steps(command["count"]))
        elif command["command"] == "sample":
            show(trainer.sample(command["count"]))
        elif command["command"] == "gradients":
            show(trainer.gradients(command["path"]))
        elif command["command"] == "memory":
            show({"peakBytes": peak_bytes()})


if __name__ == "__main__":
    main()
