// tmrld's plugin for OpenPlanet: tells programs of this machine speed and place of the car, and saves replays for them.
//
// Main() is called once and goes on after each yield() in the next frame; the other functions here are called by OpenPlanet, too.
// https://openplanet.dev/docs/reference/plugin-callbacks

Telemetry@ telemetry = Telemetry();
Replays@ replays = Replays();
const uint64 QUIET_MS = 10000;
uint64 nextComplaint = 0;

void Main() {
    Announce();
    while (true) {
        try {
            telemetry.Frame();
            replays.Frame();
        } catch { // the game may take away what is being looked at: the next frame is another one
            if (Time::Now >= nextComplaint) {
                nextComplaint = Time::Now + QUIET_MS;
                warn("tmrld: " + getExceptionInfo());
            }
        }
        yield();
    }
}

// Leave word that this version runs, in PluginStorage/tmrld/running.json: `tmrld trackmania status` and `tmrld doctor` read it.
void Announce() {
    try {
        Json::Value@ word = Json::Object();
        word["version"] = Meta::ExecutingPlugin().Version;
        word["telemetry_port"] = S_TelemetryPort;
        word["replay_port"] = S_ReplayPort;
        Json::ToFile(IO::FromStorageFolder("running.json"), word);
    } catch {
        warn("tmrld: " + getExceptionInfo());
    }
}

void OnSettingsChanged() {
    Announce();
}

// Ports are free at once for whoever wants them next, be it this plugin after a reload.
void OnDisabled() {
    telemetry.Close();
    replays.Close();
}

void OnDestroyed() {
    OnDisabled();
}
