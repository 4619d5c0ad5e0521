"""DistributedOptimizer where one process, or threads in place of processes, compute the shards."""

from __future__ import annotations

import numpy as np
import pytest
import thread_ranks
from data_parallel import Training, network

import backstride
from backstride.distributed import DistributedOptimizer, buckets, communicator
from backstride.layers import BatchNorm1d, BatchNorm2d, CrossEntropyLoss, Dropout, Layer, Linear, ReLU, Sequential
from backstride.optim import SGD, Adam, GradScaler, clip_grad_norm

SINGLE = communicator("single")


def plain_net(dtype="float32"):
    return Sequential(Linear(5, 4, dtype=dtype, rng=0), ReLU(), Linear(4, 3, dtype=dtype, rng=1))


def made(layers, shards=4, **options):
    return DistributedOptimizer(SGD(layers.parameters(), lr=0.1), SINGLE, shards, **options)


def batch(rng, samples, dtype="float32"):
    return rng.standard_normal((samples, 5)).astype(dtype), rng.integers(0, 3, samples)


def backpropagate(net, optimizer, given):
    loss = CrossEntropyLoss()
    for x, labels in optimizer.shards(given):
        loss(net(x), labels)
        net.backward(loss.backward())


def trained(rank, steps=6, **options):
    training = Training(rank, 4, **options)
    for step in range(steps):
        training.step(step)
    return training.digest()


def test_one_shard_is_the_plain_step(rng):
    """Bit for bit, but for dropout, which has other masks."""
    ours, theirs = (Sequential(Linear(5, 4, rng=0), BatchNorm1d(4), Linear(4, 3, rng=1)) for _ in range(2))
    optimizer, plain, loss = made(ours, shards=1), SGD(theirs.parameters(), lr=0.1), CrossEntropyLoss()
    for _ in range(3):
        given = batch(rng, 7)
        backpropagate(ours, optimizer, given)
        clip_grad_norm(optimizer, 0.5)
        optimizer.step()
        loss(theirs(given[0]), given[1])
        theirs.zero_grad()
        theirs.backward(loss.backward())
        clip_grad_norm(plain, 0.5)
        plain.step()
    for name, array in theirs.state_dict().items():
        assert ours.state_dict()[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("samples", [1, 3, 8, 13, 64])
def test_shards_together_have_the_gradient_of_the_batch(samples, rng):
    net, given, loss = plain_net("float64"), batch(rng, samples, "float64"), CrossEntropyLoss()
    loss(net(given[0]), given[1])
    net.backward(loss.backward())
    expected = [p.grad for p in net.parameters()]
    optimizer = made(net, shards=8)
    backpropagate(net, optimizer, given)
    optimizer.reduce()
    for gradient, wanted in zip(optimizer.optimizer.gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-14)  # sums of a few numbers of size 1 in float64


def test_what_shards_yields(rng):
    optimizer, x = made(plain_net()), np.arange(10)
    assert [list(part) for part in optimizer.shards(x)] == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]]
    optimizer.zero_grad()
    assert [list(part) for part in optimizer.shards(x[:3])] == [[0], [1], [2]]
    optimizer.zero_grad()
    assert [type(part) for part in optimizer.shards([x, x])] == [list] * 4
    optimizer.zero_grad()
    assert list(optimizer.shards(x[:0])) == []


def test_gradients_from_before_are_dropped(rng):
    nets, given = [plain_net() for _ in range(2)], batch(rng, 8)
    for net, before in zip(nets, (0, 7), strict=True):
        for p in net.parameters():
            p.grad = np.full_like(p.data, before)
        optimizer = made(net)
        backpropagate(net, optimizer, given)
        assert all(p.grad is None for p in net.parameters())
        optimizer.step()
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        assert ours.data.tobytes() == theirs.data.tobytes()


def test_16_bit_gradients_are_added_up_in_float32(rng):
    net, given = plain_net("float16"), batch(rng, 16, "float16")
    optimizer, single = made(net), []
    for x, labels in optimizer.shards(given):
        loss = CrossEntropyLoss()
        loss(net(x), labels)
        net.backward(loss.backward())
        single.append([p.grad.astype(np.float32) / 4 for p in net.parameters()])
    optimizer.reduce()
    for place, gradient in enumerate(optimizer.optimizer.gradients):
        a, b, c, d = (shard[place] for shard in single)
        assert gradient.dtype == np.float32
        assert gradient.tobytes() == ((a + b) + (c + d)).tobytes()


def test_a_parameter_without_a_gradient_is_passed_over(rng):
    net = plain_net()
    for name in ("frozen", "unused"):
        unused = Linear(2, 2, rng=2)
        unused.weight.requires_grad = name != "frozen"
        parameters = [*net.parameters(), *unused.parameters()]
        inner = Adam(parameters, lr=0.1)
        optimizer = DistributedOptimizer(inner, SINGLE, 2)
        before = unused.weight.data.copy()
        backpropagate(net, optimizer, batch(rng, 8))
        optimizer.step()
        assert list(inner.state_dict()["counts"]) == [1, 1, 1, 1, 0, 0]
        assert unused.weight.data.tobytes() == before.tobytes()


def test_an_empty_batch_changes_nothing(rng):
    net = Sequential(Linear(5, 3, rng=0), BatchNorm1d(3))
    optimizer = made(net, net=net)
    before = {name: a.tobytes() for name, a in net.state_dict().items()}
    backpropagate(net, optimizer, batch(rng, 0))
    optimizer.step()
    assert {name: a.tobytes() for name, a in net.state_dict().items()} == before
    assert optimizer.steps == 1


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_follow_the_mean_over_shards(momentum, rng):
    norm = BatchNorm2d(3, momentum=momentum)
    net = Sequential(norm)
    optimizer, expected = made(net), (np.zeros(3), np.ones(3))
    for step, samples in enumerate((8, 6, 3), 1):
        x = rng.standard_normal((samples, 3, 2, 1)).astype(np.float32) + 2
        parts = list(optimizer.shards(x))
        optimizer.zero_grad()
        for part in optimizer.shards(x):
            net.backward(net(part))
        optimizer.step()
        weights = [len(part) / samples for part in parts]
        mean = sum(w * part.mean((0, 2, 3), np.float64) for w, part in zip(weights, parts, strict=True))
        var = sum(w * part.var((0, 2, 3), np.float64, ddof=1) for w, part in zip(weights, parts, strict=True))
        share = 1 / step if momentum is None else momentum
        expected = tuple((1 - share) * old + share * new for old, new in zip(expected, (mean, var), strict=True))
    np.testing.assert_allclose(norm.running_mean.data, expected[0], rtol=1e-5)  # float32 sums of 16 numbers
    np.testing.assert_allclose(norm.running_var.data, expected[1], rtol=1e-5)
    assert norm.num_batches_tracked.data == 3


def test_a_shard_of_one_value_has_no_variance(rng):
    """Of 5 samples in 4 shards one has two."""
    norm = BatchNorm1d(2)
    optimizer = made(norm)
    x = rng.standard_normal((5, 2)).astype(np.float32)
    for part in optimizer.shards(x):
        norm.backward(norm(part))
    optimizer.step()
    np.testing.assert_allclose(norm.running_mean.data, 0.1 * x.mean(0), rtol=1e-5)  # float32
    np.testing.assert_allclose(norm.running_var.data, 0.9 + 0.1 * x[3:].var(0, ddof=1), rtol=1e-5)


def test_statistics_are_applied_once_a_step(rng):
    norm = BatchNorm1d(2)
    optimizer, x = made(norm), rng.standard_normal((8, 2)).astype(np.float32)
    for part in optimizer.shards(x):
        norm.backward(norm(part))
        assert norm.num_batches_tracked.data == 0
        assert not norm.running_mean.data.any()
    optimizer.reduce()
    optimizer.reduce()
    optimizer.step()
    assert norm.num_batches_tracked.data == 1


def test_dropout_by_step_shard_and_call(rng):
    layer, seen = Dropout(0.5, rng=3), []
    net = Sequential(Linear(5, 3, rng=0), layer)
    optimizer = made(net, 2)
    layer.position = (9, 8, 7)
    for _ in range(2):
        for _part in optimizer.shards(np.ones((2, 5), np.float32)):
            seen += [layer(np.ones((1, 64))) for _ in range(2)]
        optimizer.zero_grad()
    at = [(call, shard, step) for step in (0, 1) for shard in (0, 1) for call in (0, 1)]
    for found, position in zip(seen, at, strict=True):
        expected = backstride.kernels.dropout(np.ones((1, 64)), np.array(position, np.uint32), p=0.5, seed=layer.seed)
        assert found.tobytes() == expected.tobytes(), position
    assert layer.position == (9, 8, 7)  # which is none of a rank's


def test_bits_do_not_depend_on_buckets(monkeypatch):
    expected = trained(SINGLE)
    monkeypatch.setattr(buckets, "BYTES", 8)
    assert len(buckets.buckets(list(network().parameters()))) > 3
    assert trained(SINGLE) == expected


@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}, {"with_net": False}, {"optimizer": Adam}], ids=str)
def test_threads_train_the_same_bits(options):
    expected = trained(SINGLE, **options)
    for size in (2, 4):
        results, _ = thread_ranks.run(size, lambda rank: trained(rank, **options))
        assert results == [expected] * size


def test_a_scaler_leaves_out_a_step(rng):
    net = plain_net("float16")
    optimizer, scaler = made(net), GradScaler(init_scale=2.0**120)
    before = {name: a.tobytes() for name, a in net.state_dict().items()}
    for x, labels in optimizer.shards(batch(rng, 8, "float16")):
        loss = CrossEntropyLoss()
        loss(net(x), labels)
        net.backward(scaler.scale(loss.backward()))
    scaler.step(optimizer)
    scaler.update()
    assert scaler.loss_scale == 2.0**119
    assert optimizer.steps == 0
    assert optimizer.batches == 1
    assert {name: a.tobytes() for name, a in net.state_dict().items()} == before


def test_going_on_from_a_state():
    whole, first = Training(SINGLE, 4), Training(SINGLE, 4)
    for step in range(4):
        whole.step(step)
    for step in range(2):
        first.step(step)
    second = Training(SINGLE, 4, net=network(dropout_seed=2))
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.norms = first.norms
    for step in (2, 3):
        second.step(step)
    assert second.digest() == whole.digest()


def test_the_state_of_a_plain_optimizer(rng):
    net = plain_net()
    plain = SGD(net.parameters(), lr=0.1, momentum=0.9)
    plain.steps = 7
    optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1, momentum=0.9), SINGLE, 2)
    optimizer.load_state_dict(plain.state_dict())
    assert (optimizer.steps, optimizer.batches) == (7, 7)
    with pytest.raises(ValueError, match="batches is -1; expected a whole number of at least 0"):
        optimizer.load_state_dict({**optimizer.state_dict(), "batches": -1})
    with pytest.raises(ValueError, match="steps is missing"):
        optimizer.load_state_dict({"batches": 3})
    assert optimizer.batches == 7


class OtherRank:
    name, rank, size = "other", 0, 3


@pytest.mark.parametrize(
    ("shards", "size", "message"),
    [
        (3, 1, "shards is 3; expected a power of two"),
        (0, 1, "shards is 0; expected an int >= 1"),
        (4, 3, "the number of processes is 3; expected a power of two"),
        (2, 4, "the number of processes is 4; expected at most shards, which is 2"),
    ],
)
def test_numbers_that_cannot_be(shards, size, message):
    other = OtherRank()
    other.size = size
    with pytest.raises(ValueError, match=f"DistributedOptimizer: {message}"):
        DistributedOptimizer(SGD(plain_net().parameters(), lr=0.1), other, shards)


def test_misuse(rng):
    net, given = plain_net(), batch(rng, 8)
    optimizer = made(net)
    with pytest.raises(RuntimeError, match="not all shards of a batch were computed"):
        optimizer.step()
    for _ in optimizer.shards(given):
        break
    with pytest.raises(RuntimeError, match="not all shards of a batch were computed"):
        optimizer.reduce()
    backpropagate(net, optimizer, given)
    with pytest.raises(RuntimeError, match="shards was called before the step of the last batch"):
        optimizer.shards(given)
    optimizer.step()
    with pytest.raises(RuntimeError, match="not all shards"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"the lengths of the arrays of a batch is \[8, 7\]; expected all the same"):
        optimizer.shards((given[0], given[1][:7]))
    with pytest.raises(ValueError, match="name is 'gloo'; expected 'mpi' or 'nccl' or 'single'"):
        communicator("gloo")


def test_a_loop_that_is_left_tells_layers_nothing_any_more(rng):
    norm = BatchNorm1d(2)
    optimizer, x = made(norm), rng.standard_normal((8, 2)).astype(np.float32)
    for part in optimizer.shards(x):
        norm(part)
        break
    norm(x)
    assert norm.num_batches_tracked.data == 1


def differing(rank, change):
    """Ranks whose program is another on rank 1."""
    options = change if rank.rank == 1 else {}
    net = Sequential(Linear(5, options.get("width", 3), rng=0), Dropout(0.1, rng=options.get("seed", 0)))
    inner = options.get("kind", SGD)(net.parameters(), lr=options.get("lr", 0.1), **options.get("more", {}))
    return DistributedOptimizer(inner, rank, 2, net=net if options.get("with_net", True) else None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, r"parameter 0 is trained, float32 \(4, 5\) on rank 1 and trained, float32 \(3, 5\) on rank 0"),
        ({"kind": Adam}, "the optimizer is Adam on rank 1 and SGD on rank 0"),
        ({"lr": 0.2}, "lr is 0.2 on rank 1 and 0.1 on rank 0"),
        ({"more": {"momentum": 0.5}}, "group 0 is .*'momentum': 0.5.* on rank 1"),
        ({"more": {"schedule": [1, 0.5]}}, "the schedule is .* on rank 1"),
        ({"seed": 1}, "layer 0 of the batch is .* of the seed [0-9]+ on rank 1"),
        ({"with_net": False}, "not there on rank 1"),
    ],
    ids=str,
)
def test_ranks_of_another_program_are_refused(change, message):
    with pytest.raises(ValueError, match=f"DistributedOptimizer: .*{message}"):
        thread_ranks.run(2, lambda rank: differing(rank, change))


def test_ranks_start_from_rank_0():
    def work(rank):
        net = Sequential(Linear(5, 3, rng=rank.rank), BatchNorm1d(3))
        net[1].running_mean.data += rank.rank
        inner = SGD(net.parameters(), lr=0.1, momentum=0.9)
        inner.steps = 5 - rank.rank
        optimizer = DistributedOptimizer(inner, rank, 2, net=net)
        return {n: a.tobytes() for n, a in {**net.state_dict(), **optimizer.state_dict()}.items()}

    (first, second), _ = thread_ranks.run(2, work)
    assert first == second
    assert first["0.weight"] == Linear(5, 3, rng=0).weight.data.tobytes()


def test_ranks_with_other_batches():
    def work(rank):
        net = plain_net()
        optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), rank, 2)
        backpropagate(net, optimizer, batch(np.random.default_rng(0), 8 - rank.rank))
        optimizer.step()

    with pytest.raises(ValueError, match="the batch's length is 7 on rank 1 and 8 on rank 0"):
        thread_ranks.run(2, work)


class Sometimes(Layer):
    """Its normalisation is met from the second step on."""

    def __init__(self):
        self.linear, self.norm, self.steps = Linear(5, 3, rng=0), BatchNorm1d(3), 0

    def forward(self, x):
        self.steps += 1
        return self.norm(self.linear(x)) if self.steps > 1 else self.linear(x)

    def backward(self, dy):
        return self.linear.backward(self.norm.backward(dy) if self.steps > 1 else dy)


def test_layers_that_are_met_late(rng):
    net = Sometimes()
    optimizer = made(net, 1)
    backpropagate(net, optimizer, batch(rng, 4))
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"BatchNorm1d\(3\) was not met in the first batch.*net=net"):
        backpropagate(net, optimizer, batch(rng, 4))
    optimizer = made(net, 1, net=net)
    backpropagate(net, optimizer, batch(rng, 4))
    optimizer.step()
    assert net.norm.num_batches_tracked.data == 1


def test_a_process_without_a_sample_in_the_first_batch():
    def work(rank, with_net):
        net = Sequential(Linear(5, 3, rng=0), BatchNorm1d(3))
        optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), rank, 4, net=net if with_net else None)
        backpropagate(net, optimizer, batch(np.random.default_rng(0), 1))
        optimizer.step()
        return net[1].running_mean.data.tobytes()

    with pytest.raises(ValueError, match=r"layer 0 of the batch is .*without a sample.*net=net"):
        thread_ranks.run(4, lambda rank: work(rank, False))
    results, _ = thread_ranks.run(4, lambda rank: work(rank, True))
    assert results == [work(SINGLE, True)] * 4
