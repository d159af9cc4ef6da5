"""Annotations: the platform's records one by one, who may do what, and numbers of operations.

``access`` says who somebody is in a project, ``reading`` finds, ``editing`` writes through the
records port, ``numbers`` names jobs by whole numbers, ``files`` takes in what files hold,
``exports`` puts together what goes out, and ``keeping`` stores it in pieces;
``figures`` adds up what ``reports`` tell;
``platform`` is all of it for the edge.
"""

from __future__ import annotations

from streams.systems.annotations.access import Seat
from streams.systems.annotations.platform import Platform
from streams.systems.annotations.reading import Rows

__all__ = ["Platform", "Rows", "Seat"]
