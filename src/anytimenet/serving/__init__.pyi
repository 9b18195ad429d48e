"""What `anytimenet.serving` exports, with the module of each name."""

from anytimenet.serving.model_server import ModelServer as ModelServer
from anytimenet.serving.model_server import ServerStatus as ServerStatus
from anytimenet.serving.model_server import Ticket as Ticket
from anytimenet.serving.request import Done as Done
from anytimenet.serving.request import Failed as Failed
from anytimenet.serving.request import Overloaded as Overloaded
from anytimenet.serving.request import Refused as Refused
from anytimenet.serving.request import Request as Request
from anytimenet.serving.request import StageDone as StageDone
from anytimenet.serving.request import Timing as Timing
from anytimenet.serving.request import Update as Update
from anytimenet.serving.scheduling.policies.known import known_policies as known_policies
from anytimenet.serving.scheduling.scheduler import Scheduler as Scheduler
from anytimenet.serving.simulation.load import bursts as bursts
from anytimenet.serving.simulation.load import diurnal as diurnal
from anytimenet.serving.simulation.load import poisson as poisson
from anytimenet.serving.simulation.planning import Objective as Objective
from anytimenet.serving.simulation.planning import replicas_for as replicas_for
from anytimenet.serving.simulation.report import Report as Report
from anytimenet.serving.simulation.simulator import Site as Site
from anytimenet.serving.simulation.simulator import simulate as simulate
