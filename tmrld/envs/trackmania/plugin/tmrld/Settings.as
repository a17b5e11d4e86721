// What a player can set: F3, Openplanet, Settings, tmrld.  OpenPlanet keeps it in its own Settings.ini, so that it outlives
// updates of this plugin.  https://openplanet.dev/docs/tutorials/plugin-settings

[Setting name="Telemetry port" description="Programs of this machine listen here to speed and place (tmrld: environment.trackmania.telemetry_port). 0 turns it off."]
int S_TelemetryPort = 9000;

[Setting name="Replay port" description="Who connects here asks for a replay of the race (tmrld: environment.trackmania.replay_port). 0 turns it off."]
int S_ReplayPort = 10000;
