"""Which changes of code are faults: not types, texts, or what decides speed and memory alone."""

from __future__ import annotations

import ast

# How much is taken at once, or kept: the outcome is the same.
_SPEED = {
    "_ASSIGNED_AT_ONCE",
    "_AT_ONCE",
    "_BATCH",
    "_BLOCK",
    "_BLOCK_BYTES",
    "_BYTES_A_SCORE",
    "_CHUNK",
    "_KEPT_BYTES",
    "_MOST_SCORES",
    "_PIECE",
    "_PIECE_BLOCKS",
    "_PLACES_AT_ONCE",
    "_ROTATIONS_AT_ONCE",
    "_SCORES_AT_ONCE",
    "_SHARES",
    "_VALUES_AT_ONCE",
    "_VOLUMES_AT_ONCE",
}
_TEXTS = {"say", "step", "logger.info", "logger.warning", "warnings.warn"}  # what is said


def is_meaningful(source: str, changed: str) -> bool:
    """Whether changed code can be compiled, and does something else than it did."""
    try:
        compile(changed, "changed", "exec")
    except SyntaxError:
        return False
    return _bare(source) != _bare(changed)


def _bare(source: str) -> str:
    return ast.dump(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    """Leaves out what no test is about."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns, node.decorator_list = None, []
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []  # whether it is frozen
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Whether names must be given, or must not be, is no matter of what is computed."""
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *filter(None, node.kw_defaults)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:  # for the type checker
        return ast.Pass()

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if {ast.unparse(target) for target in node.targets} & _SPEED:
            return ast.Pass()
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args = []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = ast.unparse(node.func)
        if called in _TEXTS:
            node.args, node.keywords = [], []
        if called == "track":  # what is gone through stays, what is said of it does not
            node.args = node.args[:1]
        if called == "zip":  # strict: where lengths are equal, as they are, nothing differs
            node.keywords = []
        return self.generic_visit(node)
