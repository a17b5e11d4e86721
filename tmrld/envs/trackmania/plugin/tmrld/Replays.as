// Saves a replay of the race for whoever calls, finished or not, in Documents/Trackmania/Replays/tmrld.
//
// https://next.openplanet.dev/Game/CSmArenaRulesMode (Ghost_RetrieveFromPlayer)
// https://next.openplanet.dev/Game/CGameDataFileManagerScript (Replay_Save)

class Replays {
    private Port port("replays");
    private int count = 0;
    private CSmArenaRulesMode@ rules; // those of the race whose replay is being saved
    private CGameGhostScript@ ghost;

    void Frame() {
        Net::Socket@ caller = port.Caller(S_ReplayPort);
        while (caller !is null) {
            caller.Close(); // the call itself is the request
            Begin();
            @caller = port.Caller(S_ReplayPort);
        }
    }

    void Close() {
        port.Close();
    }

    // Take what was driven so far, at once: whoever calls goes on to the next race.
    private void Begin() {
        if (ghost !is null) {
            warn("tmrld: no replay: the one before is still being saved");
            return;
        }
        if (!Permissions::CreateLocalReplay()) {
            warn("tmrld: no replay: the game does not let this account save one (it needs Club access)");
            return;
        }
        CGameTerminal@ terminal = Terminal();
        CSmScriptPlayer@ car = null;
        if (terminal !is null) {
            @car = Car(terminal);
        }
        @rules = cast<CSmArenaRulesMode>(GetApp().PlaygroundScript);
        if (car is null || rules is null) {
            warn("tmrld: no replay: there is no race, or it is another machine's (online)");
            return;
        }
        @ghost = rules.Ghost_RetrieveFromPlayer(car);
        if (ghost is null) {
            warn("tmrld: no replay: the game has recorded nothing yet");
            return;
        }
        startnew(CoroutineFunc(this.Save));
    }

    private void Save() {
        string folder = IO::FromUserGameFolder("Replays/tmrld");
        if (!IO::FolderExists(folder)) {
            IO::CreateFolder(folder, true);
        }
        count++;
        CGameCtnChallenge@ map = GetApp().RootMap;
        string file = folder + "/" + Time::FormatString("%Y-%m-%d_%H-%M-%S") + "_" + count + "_" + map.EdChallengeId + ".Replay.Gbx";
        CWebServicesTaskResult@ saving = rules.DataFileMgr.Replay_Save(file, map, ghost);
        while (saving !is null && saving.IsProcessing && IsOurs()) {
            yield();
        }
        if (IsOurs()) { // else the game has taken it all away with the race
            if (saving is null || !saving.HasSucceeded) {
                warn("tmrld: no replay: the game could not save " + file);
            } else {
                print("tmrld: saved " + file);
            }
            if (saving !is null) {
                rules.DataFileMgr.TaskResult_Release(saving.Id);
            }
            rules.DataFileMgr.Ghost_Release(ghost.Id);
        }
        @ghost = null;
        @rules = null;
    }

    // Whether the race is still the one.
    private bool IsOurs() {
        return cast<CSmArenaRulesMode>(GetApp().PlaygroundScript) is rules;
    }
}
