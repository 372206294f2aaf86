"""A worker that is given batches of a table to work through, and keeps only a summary of each. A line of JSON on stdin
is a batch, a line on stdout its answer; at the end of stdin it exits."""

import io
import json
import sys

import numpy
import pandas

summaries = []


def make_frame(rng, rows):
    return pandas.DataFrame(
        {
            "customer": rng.integers(0, rows // 10 + 1, rows),
            "product": rng.integers(0, 500, rows),
            "price": rng.lognormal(3, 1, rows),
            "quantity": rng.integers(1, 9, rows),
            "note": rng.choice([f"note {n} " + "x" * (n % 40) for n in range(1000)], rows).astype(object),
        }
    )


def work(rows, seed):
    rng = numpy.random.default_rng(seed)
    frame = make_frame(rng, rows)
    frame["total"] = frame["price"] * frame["quantity"]
    frame["label"] = frame["note"].str.upper() + frame["product"].astype(str)
    products = pandas.DataFrame({"product": range(500), "weight": rng.random(500)})
    merged = frame.merge(products, on="product").sort_values(["customer", "total"])
    by_customer = merged.groupby("customer").agg({"total": "sum", "weight": "mean", "label": "first"})
    text = by_customer.to_csv()
    again = pandas.read_csv(io.StringIO(text))
    summaries.append({"rows": len(merged), "customers": len(again), "total": float(again["total"].sum())})
    return summaries[-1]


def say(**fields):
    print(json.dumps(fields), flush=True)


say(ready=True)
for line in sys.stdin:
    say(**work(**json.loads(line)))
