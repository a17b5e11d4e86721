/** The live stream.  One `Live` is one WebSocket that comes back by itself and asks for what it missed. */

export type Data = Record<string, unknown>;

export interface LiveEvent {
  number: number;
  time: number;
  topic: string;
  run: string;
  data: Data;
}

export interface Listener {
  /** Something happened. */
  event(event: LiveEvent): void;
  /** From here on nothing is missed, but what came before may be unknown: fetch it. */
  fresh(): void;
  /** Whether the relay can be heard. */
  connected?(yes: boolean): void;
  /** The session ended: nothing comes any more. */
  refused?(code: number, reason: string): void;
}

type Message =
  | { kind: "hello"; stream?: string; number?: number }
  | ({ kind: "event" } & LiveEvent)
  | { kind: "gap" }
  | { kind: "dropped"; count: number };

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5_000;

/** Full jitter, so that many pages do not come back in step.  `chance` is in [0, 1). */
export function waitBefore(attempt: number, chance: number): number {
  return FIRST_WAIT_MS + chance * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
}

export class Live {
  private socket: WebSocket | null = null;
  private stream: string | null = null;
  private number = 0;
  private attempt = 0;
  private timer = 0;
  private closed = false;

  constructor(
    private readonly topics: string[],
    private readonly run: string | null,
    private readonly listener: Listener,
  ) {
    this.open();
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
  }

  close(): void {
    this.closed = true;
    window.clearTimeout(this.timer);
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    this.socket?.close();
  }

  private open(): void {
    this.timer = 0;
    const query = new URLSearchParams({ topics: this.topics.join(",") });
    if (this.run !== null) query.set("run", this.run);
    if (this.stream !== null) {
      query.set("stream", this.stream);
      query.set("since", String(this.number));
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/live?${query}`, ["tmrld.live.v1"]);
    this.socket = socket;
    socket.onmessage = (message) => this.hear(JSON.parse(String(message.data)) as Message);
    socket.onclose = (event) => this.lost(event.code, event.reason);
  }

  private hear(message: Message): void {
    switch (message.kind) {
      case "hello": {
        const resumed = this.stream !== null && message.stream === this.stream;
        this.stream = message.stream ?? null;
        if (!resumed) this.number = message.number ?? 0;
        this.attempt = 0;
        this.listener.connected?.(true);
        if (!resumed) this.listener.fresh();
        return;
      }
      case "event":
        this.number = message.number;
        this.listener.event(message);
        return;
      case "gap":
      case "dropped":
        this.listener.fresh();
        return;
      default:
        throw new Error(`the live stream says ${JSON.stringify(message).slice(0, 200)}, which this page does not know`);
    }
  }

  private lost(code: number, reason: string): void {
    this.socket = null;
    if (this.closed) return;
    this.listener.connected?.(false);
    if (code === 4401 || code === 4403) {
      this.closed = true;
      this.listener.refused?.(code, reason);
      return;
    }
    this.timer = window.setTimeout(() => this.open(), waitBefore(this.attempt++, Math.random()));
  }

  /** The network or the person is back: do not wait longer. */
  private hurry = (): void => {
    if (!this.timer || document.visibilityState === "hidden") return;
    window.clearTimeout(this.timer);
    this.open();
  };
}
