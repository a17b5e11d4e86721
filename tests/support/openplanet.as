// What our plugin uses of OpenPlanet's and the game's programming interface, as a script of its own: the declarations are
// OpenPlanet's, and `openplanet.cpp` does what a script cannot.  The names beginning with "sys" are that program's.

namespace Time {
    uint64 get_Now() property { return sysNow(); }
    string FormatString(const string &in format) { return "2026-01-31_12-00-00"; }
}

namespace Net {
    class Socket {
        private int line = -1;
        private bool hungUp = false;

        ~Socket() { Close(); }
        bool Listen(const string &in host, uint16 port) {
            line = sysListen(host, port);
            return line >= 0;
        }
        Socket@ Accept() {
            int found = line < 0 ? -1 : sysAccept(line);
            if (found < 0) {
                return null;
            }
            Socket@ caller = Socket();
            caller.line = found;
            return caller;
        }
        bool IsReady() { return line >= 0 && sysIsWritable(line); }
        bool IsHungUp() { return line < 0 || sysIsHungUp(line); }
        bool Write(MemoryBuffer@ buffer, uint64 size = 0) { return sysWrite(line, buffer.Rest(size)); }
        void Close() {
            if (line >= 0) {
                sysClose(line);
                line = -1;
            }
        }
    }
}

class MemoryBuffer {
    private string bytes;
    private uint64 place = 0;

    MemoryBuffer(uint64 size = 0) {}
    void Seek(uint64 position, int origin = 0) { place = position; }
    void Write(float value) { Put(sysFloat(value)); }
    void Write(int value) { throw("an int was written"); }
    void Write(bool value) { throw("a bool was written"); }
    string Rest(uint64 size) {
        string rest = bytes.substr(int(place), size == 0 ? -1 : int(size));
        place += rest.length();
        return rest;
    }
    private void Put(const string &in more) {
        bytes = bytes.substr(0, int(place)) + more + bytes.substr(int(place + more.length()));
        place += more.length();
    }
}

namespace Json {
    class Value {
        private string text;

        Value& opIndex(const string &in key) {
            text += key + "=";
            return this;
        }
        void opAssign(const string &in value) { text += value + " "; }
        void opAssign(int value) { text += value + " "; }
        string Text() { return text; }
    }
    Value@ Object() { return Value(); }
    void ToFile(const string &in path, Value@ value, bool pretty = false) { sysSay("json " + path + " " + value.Text()); }
}

namespace IO {
    string FromStorageFolder(const string &in path) { return "storage/" + path; }
    string FromUserGameFolder(const string &in path) { return "game/" + path; }
    bool FolderExists(const string &in path) { return false; }
    void CreateFolder(const string &in path, bool recursive = true) { sysSay("folder " + path); }
}

namespace Meta {
    class Plugin {
        string get_Version() property { return "1.2.3"; }
    }
    Plugin@ ExecutingPlugin() { return Plugin(); }
}

namespace Permissions {
    bool CreateLocalReplay() { return sysState("club") != 0; }
}

funcdef void CoroutineFunc();
void startnew(CoroutineFunc@ does) { sysStart(does); }
void print(const string &in text) { sysSay("print " + text); }
void warn(const string &in text) { sysSay("warn " + text); }

// The game

namespace SGamePlaygroundUIConfig {
    enum EUISequence { None, Playing, Intro, EndRound, UIInteraction, Finish }
}

class vec3 {
    float x, y, z;
}

class CMwNod {}

class CSmScriptPlayer : CMwNod {
    float Speed, Distance, InputSteer, InputGasPedal, EngineRpm;
    bool InputIsBraking;
    int EngineCurGear;
    vec3 Position;
}

class CGamePlayer : CMwNod {}

class CSmPlayer : CGamePlayer {
    CMwNod@ ScriptAPI;
}

class CGameTerminal : CMwNod {
    CGamePlayer@ ControlledPlayer;
    CGamePlayer@ GUIPlayer;
    SGamePlaygroundUIConfig::EUISequence UISequence_Current;
}

class CGamePlayground : CMwNod {
    array<CGameTerminal@> GameTerminals;
}

class CSmArenaClient : CGamePlayground {}

class CGameCtnChallenge : CMwNod {
    string EdChallengeId = "MapUid";
}

class CGameGhostScript : CMwNod {
    uint Id = 7;
}

class CWebServicesTaskResult : CMwNod {
    uint Id = 8;
    private int frames = 3;

    bool get_IsProcessing() property { return frames-- > 0; }
    bool get_HasSucceeded() property { return sysState("saves") != 0; }
}

class CGameDataFileManagerScript : CMwNod {
    CWebServicesTaskResult@ Replay_Save(const string &in path, CGameCtnChallenge@ map, CGameGhostScript@ ghost) {
        sysSay("replay " + path);
        return CWebServicesTaskResult();
    }
    void TaskResult_Release(uint id) { sysSay("task-released " + id); }
    void Ghost_Release(uint id) { sysSay("ghost-released " + id); }
}

class CGamePlaygroundScript : CMwNod {}

class CSmArenaRulesMode : CGamePlaygroundScript {
    CGameDataFileManagerScript@ DataFileMgr = CGameDataFileManagerScript();

    CGameGhostScript@ Ghost_RetrieveFromPlayer(CSmScriptPlayer@ player) { return CGameGhostScript(); }
}

class CGameCtnApp : CMwNod {
    CGamePlayground@ CurrentPlayground;
    CGamePlaygroundScript@ PlaygroundScript;
    CGameCtnChallenge@ RootMap;
}

CGameCtnApp app;
CGameCtnApp@ GetApp() {
    if (sysState("breaks") != 0) {
        throw("the game has taken it away");
    }
    return app;
}

// Called before each frame: the game is as `openplanet.cpp` was told.
void HostFrame() {
    if (sysState("race") == 0) {
        @app.CurrentPlayground = null;
        @app.PlaygroundScript = null;
        @app.RootMap = null;
        return;
    }
    if (app.RootMap is null) { // a map was loaded
        @app.RootMap = CGameCtnChallenge();
        @app.PlaygroundScript = CSmArenaRulesMode();
    }
    CSmScriptPlayer car;
    car.Speed = float(sysState("speed"));
    car.Distance = float(sysState("distance"));
    car.Position.x = float(sysState("x"));
    car.Position.y = float(sysState("y"));
    car.Position.z = float(sysState("z"));
    car.InputSteer = float(sysState("steer"));
    car.InputGasPedal = float(sysState("gas"));
    car.InputIsBraking = sysState("braking") != 0;
    car.EngineCurGear = int(sysState("gear"));
    car.EngineRpm = float(sysState("rpm"));
    CSmPlayer player;
    if (sysState("carless") == 0) {
        @player.ScriptAPI = car;
    }
    CGameTerminal terminal;
    if (sysState("watched") != 0) {
        @terminal.GUIPlayer = player;
    } else {
        @terminal.ControlledPlayer = player;
    }
    if (sysState("finished") != 0) {
        terminal.UISequence_Current = SGamePlaygroundUIConfig::EUISequence::Finish;
    } else {
        terminal.UISequence_Current = SGamePlaygroundUIConfig::EUISequence::Playing;
    }
    CSmArenaClient playground;
    playground.GameTerminals.insertLast(terminal);
    @app.CurrentPlayground = playground;
}
