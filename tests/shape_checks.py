"""Types and shapes of brodmann, checked at every call that a test makes.

jaxtyping's own import hook also wraps nested functions, each time that they are defined, and
binds the arguments of functions that name no shape: in some tests half of the time went there. Here
nested functions are left as they are, and shapes are looked for only where an annotation has one.
"""

import ast
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from typing import get_args

import jaxtyping
from beartype import beartype


def install(package):
    """Check a package from its import on; it must not have been imported before."""
    assert package not in sys.modules, f"{package} was imported before its checks"
    sys.meta_path.insert(0, _Finder(package))


def checked(function):
    """Check a function's arguments and result, or a dataclass's fields, at every call."""
    annotations = tuple(function.__annotations__.values())
    # A quoted name may be one that only type checkers import; jaxtyping passes over those.
    quoted = any(isinstance(annotation, str) for annotation in annotations)
    if isinstance(function, type) or quoted or _names_a_shape(annotations):
        return jaxtyping.jaxtyped(typechecker=beartype)(function)
    return beartype(function)


def _names_a_shape(annotation):
    if isinstance(annotation, tuple | list):
        return any(map(_names_a_shape, annotation))
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return _names_a_shape(get_args(annotation))


def _check(node):
    """The decorator, with the line of what it decorates, so that tracebacks stay true."""
    name = "__import__('tests.shape_checks').shape_checks.checked"
    check = ast.parse(name, mode="eval").body
    for part in ast.walk(check):
        ast.copy_location(part, node)
    return check


class _Decorator(ast.NodeTransformer):
    """Puts the check around classes and around functions, but not around what those define."""

    def visit_ClassDef(self, node):
        node.decorator_list.insert(0, _check(node))
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.decorator_list.append(_check(node))
        return node


class _Loader(SourceFileLoader):
    def path_stats(self, path):
        raise OSError  # bytecode with checks in it is not for anybody else: none is kept

    def source_to_code(self, data, path, *, _optimize=-1):
        tree = _Decorator().visit(ast.parse(data, path))
        return compile(tree, path, "exec", optimize=_optimize)


class _Finder(MetaPathFinder):
    def __init__(self, package):
        self.package = package

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] != self.package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
