/** What a worker's car sees: the picture, the beams of its distance measurements over it, and what it does. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { measured, whole } from "../format";
import { colour } from "../theme";
import type { Preview } from "../types";
import { Canvas } from "./canvas";

export function Camera({ frame }: { frame: Preview | null }) {
  const [image, setImage] = useState<ImageBitmap | null>(null);

  useEffect(() => {
    if (frame === null) return;
    let wanted = true;
    void pictureOf(frame.image).then(
      (made) => (wanted ? setImage(made) : made.close()),
      () => undefined, // a damaged frame: the next one comes in a tenth of a second
    );
    return () => {
      wanted = false;
    };
  }, [frame]);
  useEffect(() => () => image?.close(), [image]);

  const draw = useMemo(
    () => (context: CanvasRenderingContext2D, width: number, height: number) => {
      if (image === null || frame === null) return;
      context.drawImage(image, 0, 0, width, height);
      const [sx, sy] = [width / frame.width, height / frame.height];
      context.strokeStyle = colour("--beam");
      context.fillStyle = colour("--beam");
      context.lineWidth = 1.25;
      for (const [x0, y0, x1, y1] of frame.beams) {
        context.beginPath();
        context.moveTo(x0 * sx, y0 * sy);
        context.lineTo(x1 * sx, y1 * sy);
        context.stroke();
        context.beginPath();
        context.arc(x1 * sx, y1 * sy, 2.5, 0, 2 * Math.PI);
        context.fill();
      }
    },
    [image],
  );

  if (frame === null) return null;
  const [gas = 0, brake = 0, steer = 0] = frame.action;
  return (
    <div class="camera">
      <Canvas
        label={`What the car of ${frame.worker} sees, with ${frame.beams.length} beams`}
        aspect={frame.height / Math.max(1, frame.width)}
        draw={draw}
      />
      <div class="controls">
        <Bar name="Gas" value={gas} />
        <Bar name="Brake" value={brake} />
        <Bar name="Steer" value={steer} centred />
        <p class="speed">
          <b>{frame.speed === null ? "–" : whole(frame.speed * 3.6)}</b> km/h
        </p>
      </div>
      <p class="note">
        {frame.worker}, step {whole(frame.step)}
      </p>
    </div>
  );
}

function Bar({ name, value, centred = false }: { name: string; value: number; centred?: boolean }) {
  const share = Math.min(1, Math.max(-1, value));
  const filled = centred ? { left: `${50 + Math.min(0, share) * 50}%`, width: `${Math.abs(share) * 50}%` } : { left: "0", width: `${Math.max(0, share) * 100}%` };
  return (
    <div class="bar">
      <span>{name}</span>
      <i class={centred ? "track centred" : "track"}>
        <i class="fill" style={filled} />
      </i>
      <b>{measured(share, 2)}</b>
    </div>
  );
}

async function pictureOf(base64: string): Promise<ImageBitmap> {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
}
