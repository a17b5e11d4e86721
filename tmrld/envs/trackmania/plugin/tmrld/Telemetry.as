// Tells every program that has called where the car is: one record for each frame of the game, in a race.
//
// A record is 11 floats of 32 bits, little-endian as the processor has them, 44 bytes without anything between.

const uint64 RECORD_BYTES = 44;
const uint MOST_CLIENTS = 4; // one drives, one looks; when there are more, the oldest goes, which may be dead without having said so

class Telemetry {
    private Port port("telemetry");
    private array<Net::Socket@> clients;
    private MemoryBuffer@ record = MemoryBuffer(0);

    void Frame() {
        Net::Socket@ caller = port.Caller(S_TelemetryPort);
        while (caller !is null) {
            if (clients.Length == MOST_CLIENTS) {
                Drop(0);
            }
            clients.InsertLast(caller);
            @caller = port.Caller(S_TelemetryPort);
        }
        if (clients.Length == 0) {
            return;
        }
        bool racing = Note();
        for (int i = int(clients.Length) - 1; i >= 0; i--) {
            if (clients[i].IsHungUp() || (racing && clients[i].IsReady() && !Tell(clients[i]))) {
                Drop(i);
            }
        }
    }

    void Close() {
        while (clients.Length > 0) {
            Drop(0);
        }
        port.Close();
    }

    // Write the record of this frame; false when there is nothing to tell.
    private bool Note() {
        CGameTerminal@ terminal = Terminal();
        if (terminal is null) {
            return false;
        }
        CSmScriptPlayer@ car = Car(terminal);
        if (car is null) {
            return false;
        }
        bool finished = terminal.UISequence_Current == SGamePlaygroundUIConfig::EUISequence::Finish;
        record.Seek(0);
        Add(car.Speed);
        Add(car.Distance);
        Add(car.Position.x);
        Add(car.Position.y);
        Add(car.Position.z);
        Add(car.InputSteer);
        Add(car.InputGasPedal);
        Add(car.InputIsBraking ? 1 : 0);
        Add(finished ? 1 : 0);
        Add(car.EngineCurGear);
        Add(car.EngineRpm);
        return true;
    }

    // MemoryBuffer has a Write for each type: all here are floats.  https://openplanet.dev/docs/api/global/MemoryBuffer
    private void Add(float value) {
        record.Write(value);
    }

    // False when it did not go out whole: whoever misses a part of a record must call again.
    private bool Tell(Net::Socket@ client) {
        record.Seek(0);
        return client.Write(record, RECORD_BYTES);
    }

    private void Drop(uint i) {
        clients[i].Close();
        clients.RemoveAt(i);
    }
}
