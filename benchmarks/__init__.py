"""What the parts of the project cost: ``./dev bench`` runs all of it, ``./dev bench dedupe`` one.

| name | measures |
|---|---|
| dedupe | what remembering ids costs: memory, look-ups, recovery |
| generator | the load that the others use, on a Mosquitto without subscribers |
| steps | CPU of each step and each agent, for chunks of 1 to 500 messages |
| ingress | MQTT to Kafka, by MQTT transport |
| pipeline | MQTT to Redis with one worker, with two, and as a tutorial would write it |
| latency | publication to job in Redis at 100, 1,000 and 10,000 messages a second |
| backlog | 2 million messages that wait in Kafka, by chunk size and number of workers |
| ingest | rows a second from the queue into PostgreSQL |

Each prints one line of JSON with the versions and the machine, and has options of its own (``--help``). The
parts are real ones, those of the tests (``tests/parts``). Times of CPU are of the project's own processes
and depend little on what else the machine does; messages/s are of everything together on all its cores, so
they compare only within a run.
"""
