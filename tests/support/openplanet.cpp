// A stand-in for OpenPlanet: compiles a plugin with AngelScript's own compiler and runs it, frame by frame.
//
//   openplanet STAND-IN.as PLUGIN-FOLDER
//
// It reads what the game is to be like from standard input, line by line: "NAME NUMBER" sets what the stand-in asks for,
// "set NAME NUMBER" a setting of the plugin; "begin" begins the plugin, "reload" ends it and begins it again; "echo WORD" is
// said again when all before it has been read.  It ends with standard input.
// On standard output it says "frame" after the plugin's first one, and each line that the plugin prints.

#define AS_USE_NAMESPACE // as Debian builds the library
#include <angelscript.h>
#include <angelscript/scriptarray.h>
#include <angelscript/scriptbuilder.h>
#include <angelscript/scripthelper.h>
#include <angelscript/scriptstdstring.h>

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <map>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace AngelScript;
using std::string;

static asIScriptEngine *engine;
static std::map<string, double> state;
static std::vector<asIScriptContext *> coroutines;

static void say(const string &text) {
    std::cout << text << std::endl;
}

[[noreturn]] static void fail(const string &text) {
    say("error " + text);
    std::exit(1);
}

static void check(int result, const char *what) {
    if (result < 0) fail(string(what) + " (" + std::to_string(result) + ")");
}

// What scripts call

static double sysState(const string &name) { return state[name]; }

static asQWORD sysNow() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

static int sysListen(const string &host, unsigned short port) {
    int line = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    setsockopt(line, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    if (bind(line, reinterpret_cast<sockaddr *>(&address), sizeof address) < 0 || listen(line, 8) < 0) {
        close(line);
        return -1;
    }
    return line;
}

static int sysAccept(int line) {
    int found = accept4(line, nullptr, nullptr, SOCK_NONBLOCK);
    if (found >= 0) { // little room, so that a client that does not read is noticed soon
        int room = 4096;
        setsockopt(found, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
    return found;
}

static bool sysIsWritable(int line) {
    pollfd asked{line, POLLOUT, 0};
    return poll(&asked, 1, 0) > 0;
}

static bool sysIsHungUp(int line) {
    pollfd asked{line, POLLIN | POLLRDHUP, 0};
    return poll(&asked, 1, 0) > 0 && (asked.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

static bool sysWrite(int line, const string &bytes) {
    return send(line, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

static void sysClose(int line) { close(line); }

static string sysFloat(float value) { return string(reinterpret_cast<const char *>(&value), sizeof value); }

static void sysStart(asIScriptFunction *does) {
    asIScriptContext *context = engine->CreateContext();
    check(context->Prepare(does->GetDelegateFunction() ? does->GetDelegateFunction() : does), "a coroutine");
    if (does->GetDelegateFunction()) context->SetObject(does->GetDelegateObject());
    coroutines.push_back(context);
}

static void yieldFrame() { asGetActiveContext()->Suspend(); }

static void message(const asSMessageInfo *info, void *) {
    const char *kinds[] = {"ERROR", "WARN", "INFO"};
    say(string("compiler ") + kinds[info->type] + " " + info->section + ":" + std::to_string(info->row) + " " + info->message);
}

static int include(const char *, const char *, CScriptBuilder *, void *) { return -1; }

static void makeEngine() {
    engine = asCreateScriptEngine();
    engine->SetMessageCallback(asFUNCTION(message), nullptr, asCALL_CDECL);
    RegisterStdString(engine);
    RegisterScriptArray(engine, true);
    struct Native { const char *declaration; asSFuncPtr function; };
    const Native methods[] = { // OpenPlanet's arrays have these names
        {"void InsertLast(const T&in)", asMETHOD(CScriptArray, InsertLast)},
        {"void RemoveAt(uint)", asMETHOD(CScriptArray, RemoveAt)},
        {"uint get_Length() const property", asMETHOD(CScriptArray, GetSize)},
    };
    for (auto &method : methods)
        check(engine->RegisterObjectMethod("array<T>", method.declaration, method.function, asCALL_THISCALL), "an array");
    RegisterExceptionRoutines(engine);
    const Native natives[] = {
        {"double sysState(const string &in)", asFUNCTION(sysState)},
        {"uint64 sysNow()", asFUNCTION(sysNow)},
        {"int sysListen(const string &in, uint16)", asFUNCTION(sysListen)},
        {"int sysAccept(int)", asFUNCTION(sysAccept)},
        {"bool sysIsWritable(int)", asFUNCTION(sysIsWritable)},
        {"bool sysIsHungUp(int)", asFUNCTION(sysIsHungUp)},
        {"bool sysWrite(int, const string &in)", asFUNCTION(sysWrite)},
        {"void sysClose(int)", asFUNCTION(sysClose)},
        {"string sysFloat(float)", asFUNCTION(sysFloat)},
        {"void sysSay(const string &in)", asFUNCTION(say)},
        {"void yield()", asFUNCTION(yieldFrame)},
    };
    for (auto &native : natives)
        check(engine->RegisterGlobalFunction(native.declaration, native.function, asCALL_CDECL), native.declaration);
    check(engine->RegisterFuncdef("void SysCoroutine()"), "a funcdef");
    check(engine->RegisterGlobalFunction("void sysStart(SysCoroutine@)", asFUNCTION(sysStart), asCALL_CDECL), "sysStart");
}

static asIScriptModule *build(const char *standIn, const char *folder) {
    CScriptBuilder builder;
    builder.SetIncludeCallback(include, nullptr);
    check(builder.StartNewModule(engine, "plugin"), "a module");
    check(builder.AddSectionFromFile(standIn), standIn);
    std::vector<string> files;
    for (auto &entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".as") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    for (auto &file : files) check(builder.AddSectionFromFile(file.c_str()), file.c_str());
    check(builder.BuildModule(), "the plugin does not compile");
    return engine->GetModule("plugin");
}

static void call(asIScriptModule *module, const char *declaration) {
    asIScriptFunction *function = module->GetFunctionByDecl(declaration);
    if (!function) return;
    asIScriptContext *context = engine->CreateContext();
    context->Prepare(function);
    if (context->Execute() == asEXECUTION_EXCEPTION) fail(string(declaration) + ": " + GetExceptionInfo(context, true));
    context->Release();
}

static void frame(asIScriptModule *module) {
    call(module, "void HostFrame()");
    for (size_t i = 0; i < coroutines.size();) {
        int ended = coroutines[i]->Execute();
        if (ended == asEXECUTION_EXCEPTION) fail(GetExceptionInfo(coroutines[i], true));
        if (ended == asEXECUTION_SUSPENDED) {
            i++;
        } else {
            coroutines[i]->Release();
            coroutines.erase(coroutines.begin() + i);
        }
    }
}

static void begin(asIScriptModule *module) {
    asIScriptContext *context = engine->CreateContext();
    context->Prepare(module->GetFunctionByDecl("void Main()"));
    coroutines.push_back(context);
}

static void end(asIScriptModule *module) {
    call(module, "void OnDestroyed()");
    for (auto context : coroutines) {
        context->Abort();
        context->Release();
    }
    coroutines.clear();
}

int main(int count, char **arguments) {
    if (count != 3) fail("usage: openplanet STAND-IN.as PLUGIN-FOLDER");
    signal(SIGPIPE, SIG_IGN);
    makeEngine();
    asIScriptModule *module = build(arguments[1], arguments[2]);
    bool began = false, said = false;
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    string rest;
    for (;;) {
        char data[4096];
        ssize_t got = read(0, data, sizeof data);
        if (got == 0) break;
        if (got > 0) rest.append(data, got);
        for (size_t at; (at = rest.find('\n')) != string::npos; rest.erase(0, at + 1)) {
            std::istringstream words(rest.substr(0, at));
            string name;
            double number = 0;
            words >> name;
            if (name == "begin" || name == "reload") {
                if (began) end(module);
                begin(module);
                began = true;
                said = false;
            } else if (name == "echo") { // all that came before is so from this frame on
                say(rest.substr(0, at));
            } else if (name == "set") {
                words >> name >> number;
                int index = module->GetGlobalVarIndexByName(name.c_str());
                if (index < 0) fail("the plugin has no setting " + name);
                *static_cast<int *>(module->GetAddressOfGlobalVar(index)) = static_cast<int>(number);
                if (began) call(module, "void OnSettingsChanged()");
            } else {
                words >> number;
                state[name] = number;
            }
        }
        if (began) {
            frame(module);
            if (!said) say("frame");
            said = true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    if (began) end(module);
    return 0;
}
