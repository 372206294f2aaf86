"""--assert: comparisons over ALLOCATOR.FIGURE, for every workload or for those that are named."""

import ast
import fnmatch
import operator
import re
import sys

from .errors import UsageError
from .figures import BY_KEY

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
}
NOT_IN_TIME = float("inf")  # what was not given back in the time watched


class Missing(Exception):
    """A workload has no such figure."""


def identifier(name):
    """An allocator's name as expressions have it: what is no letter or digit becomes _."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def parse(text):
    """(pattern of workloads or None, expression); UsageError where it is none."""
    pattern, colon, expression = text.partition(":")
    if not colon:
        pattern, expression = None, text
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"--assert '{text}': {error.msg}") from error
    if not isinstance(tree, (ast.Compare, ast.BoolOp)):
        raise UsageError(f"--assert '{text}': is no comparison")
    check(tree, text)
    return pattern and pattern.strip(), tree


def check(node, text):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.attr not in BY_KEY:
            raise UsageError(f"--assert '{text}': there is no figure '{node.attr}'; there are: {', '.join(BY_KEY)}")
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return
    allowed = (ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp)
    operators = (*OPERATORS, ast.And, ast.Or, ast.USub)
    if not isinstance(node, allowed) and not isinstance(node, operators):
        raise UsageError(f"--assert '{text}': '{ast.unparse(node)}' is neither a number nor ALLOCATOR.FIGURE")
    for child in ast.iter_child_nodes(node):
        check(child, text)


def value(node, rows):
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Attribute):
        figures = rows.get(node.value.id)
        if figures is None or node.attr not in figures:
            raise Missing(f"{node.value.id}.{node.attr}")
        median = figures[node.attr]["median"]
        return NOT_IN_TIME if median is None else median
    if isinstance(node, ast.UnaryOp):
        return -value(node.operand, rows)
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value(node.left, rows), value(node.right, rows))
    if isinstance(node, ast.BoolOp):
        holds = [value(each, rows) for each in node.values]
        return all(holds) if isinstance(node.op, ast.And) else any(holds)
    terms = [value(each, rows) for each in (node.left, *node.comparators)]
    return all(OPERATORS[type(op)](a, b) for op, a, b in zip(node.ops, terms, terms[1:]))


def terms_of(node, rows):
    """The figures in it, as text with their values."""
    found = []
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute):
            number = value(each, rows)
            found.append(f"{ast.unparse(each)} is {'never' if number == NOT_IN_TIME else format(number, '.4g')}")
    return ", ".join(dict.fromkeys(found))


def check_all(assertions, whole):
    """Prints what does not hold; answers how many. One for which no workload has the figures is an error."""
    failed = 0
    for text in assertions:
        pattern, tree = parse(text)
        applied, missing = 0, set()
        for workload, rows in whole["summary"].items():
            if pattern and not fnmatch.fnmatchcase(workload, pattern):
                continue
            by_identifier = {identifier(name): figures for name, figures in rows.items()}
            try:
                holds = value(tree, by_identifier)
            except Missing as error:
                missing.add(str(error))
                continue
            except ZeroDivisionError:
                holds = False
            applied += 1
            if not holds:
                failed += 1
                terms = terms_of(tree, by_identifier)
                print(f"neap bench: assertion failed for {workload}: {ast.unparse(tree)}: {terms}", file=sys.stderr)
        if not applied:
            what = f"no workload has {', '.join(sorted(missing))}" if missing else f"no workload is called '{pattern}'"
            raise UsageError(f"--assert '{text}': {what}")
        print(f"neap bench: assertion checked on {applied} workloads: {text}", file=sys.stderr)
    return failed
