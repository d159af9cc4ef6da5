"""The engine as a model: the real aggregate and planner among coordinators, workers, a message
bus and tables that can crash, lose, repeat, delay and reorder anything between two steps.

``docs/state-machine.md`` lists the rules that this program is written by, and that the real
coordinator and worker keep to. ``python -m tests.model --steps N --seed S`` runs it alone.
"""
