// A port of this machine that programs call.  Nobody else on the network reaches it.
//
// Net::Socket is "a non-blocking TCP socket": Accept() returns null when nobody waits, IsHungUp() says that the other side has
// left, Write() returns false when it did not succeed.  https://openplanet.dev/docs/api/Net/Socket

const string HOST = "127.0.0.1";
const uint64 RETRY_MS = 2000;

class Port {
    private string name;
    private int number = 0; // where the listener listens
    private Net::Socket@ listener;
    private uint64 nextTry = 0; // as Time::Now counts, in milliseconds
    private bool complained = false;

    Port(const string &in called) {
        name = called;
    }

    // Who has called since the last time, or null.  Listens where it is wanted, which may change at any time; 0 is nowhere.
    Net::Socket@ Caller(int wanted) {
        if (wanted != number) {
            Close();
        }
        if (listener is null && !Open(wanted)) {
            return null;
        }
        return listener.Accept();
    }

    // A later Caller() opens it again.
    void Close() {
        if (listener !is null) {
            listener.Close();
            @listener = null;
        }
        number = 0;
        nextTry = 0;
    }

    private bool Open(int wanted) {
        if (wanted <= 0 || wanted > 65535 || Time::Now < nextTry) {
            return false;
        }
        Net::Socket@ fresh = Net::Socket();
        if (!fresh.Listen(HOST, uint16(wanted))) {
            fresh.Close();
            number = wanted;
            nextTry = Time::Now + RETRY_MS;
            if (!complained) {
                complained = true;
                warn("tmrld: port " + wanted + " for " + name + " is taken: switch the other plugin off (TMRL Grab Data, TMRL Save "
                    + "Ghost), or set another port here and in tmrld. It is tried again every " + RETRY_MS / 1000 + " s.");
            }
            return false;
        }
        @listener = fresh;
        number = wanted;
        complained = false;
        print("tmrld: " + name + " on " + HOST + ":" + wanted);
        return true;
    }
}
