"""Moto's DynamoDB does the same in a fraction of the time, where one request is served at a time.

What it decides is untouched: expressions, conditions, what is written, undone and answered. Only
the limit of an item's size is not kept; ours have a few hundred bytes.
"""

import copy
import functools
import pickle
from collections import defaultdict

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing import ast_nodes, expressions, validators


def quicken():
    copy_only_what_is_touched()
    look_only_where_it_can_be()
    parse_once()
    walk_by_type()
    LimitedSizeDict.__setitem__ = dict.__setitem__  # adds the item up for every attribute: 400 KB?
    Item.__deepcopy__ = lambda self, _: _copied(self)


def copy_only_what_is_touched():
    """Moto copies its tables whole for every operation of a transaction, to be able to undo it.

    With thousands of items that takes seconds. What it undoes is the same with the transaction's
    own items copied once, before the first of them is changed.
    """
    touched, state, as_it_was = [], [], DynamoDBBackend.transact_write_items

    def transact(self, transact_items):
        state.clear()
        touched[:] = [
            (DynamoType(key["pk"]), DynamoType(key["sk"]))
            for part in transact_items
            for op in part.values()
            for key in (op.get("Key") or op["Item"],)
        ]
        return as_it_was(self, transact_items)

    def copied(self, _):
        if not state:
            same = copy.copy(self)
            same.items = defaultdict(dict, self.items)
            for pk, sk in touched:
                if pk in self.items:
                    same.items[pk] = dict(same.items[pk])
                    if sk in self.items[pk]:
                        same.items[pk][sk] = copy.deepcopy(self.items[pk][sk])
            state.append(same)
        return state[0]

    DynamoDBBackend.transact_write_items = transact
    Table.__deepcopy__ = copied


def look_only_where_it_can_be():
    """A query sorts the table, whatever it asks for: give it the partition, or the index."""
    as_it_was = Table.query

    def query(self, hash_key, *args, **more):
        whole, index = self.items, args[6]  # `index_name`
        if index is None:
            self.items = {hash_key: whole[hash_key]} if hash_key in whole else {}
        else:
            (key,) = [each.schema[0]["AttributeName"] for each in self.global_indexes]
            self.items = {pk: found for pk, found in whole.items() if _has(found, key)}
        try:
            return as_it_was(self, hash_key, *args, **more)
        finally:
            self.items = whole

    Table.query = query


def parse_once():
    """The same few expressions come again and again; a validated one is a copy."""
    parsed = expressions.UpdateExpressionParser
    parsed.make = staticmethod(functools.cache(parsed.make))
    validators.deepcopy = _copied


def walk_by_type():
    """Moto asks every node of an expression for every class; a look-up says the same."""
    walker, hook = ast_nodes.DepthFirstTraverser, "pre_processing_of_child"
    is_node = functools.cache(lambda of: issubclass(of, ast_nodes.Node))
    goes_on = functools.cache(
        lambda of: issubclass(of, (ast_nodes.Expression, ast_nodes.UpdateExpressionFunction))
    )

    @functools.cache
    def kind(kinds, node):
        return next((found for found in kinds if issubclass(node, found)), None)

    def traverse(self, root):
        process = self._processing_map()
        kinds = tuple(process)
        before = None if getattr(type(self), hook) is getattr(walker, hook) else getattr(self, hook)

        def walk(node, place):
            parent = node.parent
            for number, child in enumerate(node.children or ()):
                if before is not None:
                    before(node, number)
                if is_node(type(child)):
                    walk(child, number)
            found = kind(kinds, type(node))
            if found is not None:
                node = process[found](node)
                node.parent = parent
                if parent:
                    parent.children[place] = node
            return node

        return walk(root, -1)

    def find_clauses(self, kinds):
        found = []
        for child in self.children or ():
            if type(child) in kinds:
                found.append(child)
            elif goes_on(type(child)):
                found.extend(find_clauses(child, kinds))
        return found

    walker.traverse = traverse
    ast_nodes.Node.find_clauses = find_clauses


def _has(items, key):
    return any(key in item.attrs for item in items.values())


def _copied(value):
    return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
