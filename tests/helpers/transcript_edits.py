"""Change one thing in a recorded session: a line of a probe, a field of what the agent said, an option it was given."""

import json
from copy import deepcopy


def conditions(records):
    """Return the looks at the state of the device: before the run, after each block, after the run."""
    return [
        record for record in records if record["call"] == "run" and record["argv"][:3] == ["sh", "-s", "conditions"]
    ]


def blocks(records):
    """Return the runs of the agent's command `time`."""
    return [record for record in records if record["call"] == "start" and "time" in record["argv"]]


def keeper(records):
    return next(record for record in records if record["call"] == "start" and "--owner" in record["argv"])


def says(record, **values):
    """Let a probe give other values, one or several for a key that comes several times."""
    lines = [line.partition("=")[::2] for line in record["stdout"].splitlines()]
    for key, value in values.items():
        given = iter(value) if isinstance(value, list) else None
        lines = [(name, (next(given) if given else value) if name == key else was) for name, was in lines]
    record["stdout"] = "".join(f"{name}={value}\n" for name, value in lines)


def also_says(record, **values):
    """Let a probe give values of keys that it did not name."""
    record["stdout"] = "".join(f"{name}={value}\n" for name, value in values.items()) + record["stdout"]


def value_of(record, key):
    """Return all values that a probe gave for a key."""
    return [line.partition("=")[2] for line in record["stdout"].splitlines() if line.startswith(f"{key}=")]


def throttled(record, bits):
    says(record, vcgencmd_throttled=f"throttled={bits:#x}")


def degrees(record, temperature_c):
    says(record, zone=f"{temperature_c * 1000:.0f} cpu-thermal", vcgencmd_temperature=f"temp={temperature_c:.1f}'C")


def busy(record, share):
    """Let everything else have taken this share of the time that the probe watched."""
    first, last = ([int(field) for field in value.split()[1:]] for value in value_of(record, "stat"))
    total = sum(last) - sum(first)
    taken = round(share * total)
    later = [first[0] + taken, *first[1:3], first[3] + total - taken, *first[4:]]
    says(record, stat=[f"cpu  {' '.join(map(str, fields))}" for fields in (first, later)])


def agent(record, event, **changes):
    """Let the agent say other values in its event; a function gets what it said."""
    lines = [json.loads(line) for line in record["lines"]]
    for line in lines:
        if line["event"] == event:
            line |= {name: new(line[name]) if callable(new) else new for name, new in changes.items()}
    record["lines"] = [json.dumps(line) for line in lines]


def option(record, name, value):
    """Let the program have been started with another value of an option, or with one more option."""
    argv = record["argv"]
    if name in argv:
        argv[argv.index(name) + 1] = value
    else:
        argv += [name, value]


def scaled(records, factors):
    """Let each block have taken as many times as long."""
    for record, factor in zip(blocks(records), factors, strict=True):
        agent(record, "samples", latency_s=lambda values, by=factor: [value * by for value in values])
        agent(record, "usage", wall_s=lambda value, by=factor: value * by, cpu_s=lambda value, by=factor: value * by)


def repeated(records, times):
    """Let every block, and the look after it, have come several times."""
    count = len(blocks(records))
    first = next(index for index, record in enumerate(records) if record in blocks(records))
    middle = records[first : first + 2 * count]
    return [
        *records[:first],
        *(deepcopy(record) for _ in range(times) for record in middle),
        *records[first + 2 * count :],
    ]
