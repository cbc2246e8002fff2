"""Arithmetic by Python's own evaluator, and small ranges by listing everything."""

import ast
import itertools
from fractions import Fraction

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
NAMES = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}


def value(expression):
    """Return the exact value; numbers are made fractions so that / loses nothing."""
    tree = ast.parse(expression, mode="eval")
    for node in ast.walk(tree):
        assert isinstance(
            node, ast.Expression | ast.BinOp | ast.Constant | ast.operator | ast.Load
        ), expression

    class Exact(ast.NodeTransformer):
        def visit_Constant(self, node):
            assert type(node.value) is int
            return ast.Call(ast.Name("Fraction", ast.Load()), [node], [])

    exact = ast.fix_missing_locations(Exact().visit(tree))
    return eval(compile(exact, "expression", "eval"), {"Fraction": Fraction})


def steps(expression):
    """Return the exact value of every part of the expression's tree."""
    nodes = [n for n in ast.walk(ast.parse(expression, mode="eval")) if isinstance(n, ast.BinOp)]
    return [value(ast.unparse(node)) for node in nodes]


def operators(expression):
    """Return the names of the operators, as they stand from left to right."""
    back = {symbol: name for name, symbol in SYMBOLS.items()}
    return tuple(back[letter] for letter in expression if letter in back)


def all_single(operator, smallest, largest):
    """List every expression with one operator, the slow way."""
    numbers = range(smallest, largest + 1)
    pairs = list(itertools.product(numbers, numbers))
    if operator == "div":
        return {f"{d * q}/{d}" for d, q in pairs if d}
    if operator == "sub":
        return {f"{a}-{b}" for a, b in pairs if a >= b}
    return {f"{a}{SYMBOLS[operator]}{b}" for a, b in pairs}


def all_of(names, smallest, largest):
    """List every expression without division, over all orders of the operators."""
    numbers = range(smallest, largest + 1)
    found = set()
    for order in set(itertools.permutations(names)):
        for operands in itertools.product(numbers, repeat=len(names) + 1):
            text = str(operands[0]) + "".join(
                f"{SYMBOLS[name]}{n}" for name, n in zip(order, operands[1:], strict=True)
            )
            if all(step >= 0 for step in steps(text)):
                found.add(text)
    return found
