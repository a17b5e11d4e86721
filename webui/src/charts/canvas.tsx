/** A canvas as wide as its place and as sharp as the screen, drawn again when it must be. */

import { useEffect, useRef } from "preact/hooks";
import { whenThemeChanges } from "../theme";

export interface CanvasProps {
  label: string;
  /** Height as a share of the width. */
  aspect: number;
  /** Draws on a cleared canvas of this size, in CSS pixels. */
  draw: (context: CanvasRenderingContext2D, width: number, height: number) => void;
  onPoint?: (at: { x: number; y: number; width: number; height: number } | null) => void;
}

export function Canvas({ label, aspect, draw, onPoint }: CanvasProps) {
  const element = useRef<HTMLCanvasElement>(null);
  const newest = useRef(draw);
  newest.current = draw;

  const paint = () => {
    const canvas = element.current;
    const context = canvas?.getContext("2d");
    if (!canvas || !context || canvas.clientWidth === 0) return;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = Math.round(width * aspect);
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    newest.current(context, width, height);
  };

  useEffect(() => {
    const canvas = element.current;
    if (canvas === null) return;
    let seen = 0;
    const resized = new ResizeObserver(() => {
      if (canvas.clientWidth === seen) return;
      seen = canvas.clientWidth;
      paint();
    });
    resized.observe(canvas);
    const unlisten = whenThemeChanges(paint);
    return () => {
      resized.disconnect();
      unlisten();
    };
  }, [aspect]);

  useEffect(() => {
    const frame = requestAnimationFrame(paint);
    return () => cancelAnimationFrame(frame);
  }, [draw, aspect]);

  return (
    <canvas
      ref={element}
      role="img"
      aria-label={label}
      onPointerMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        onPoint?.({ x: event.clientX - box.left, y: event.clientY - box.top, width: box.width, height: box.height });
      }}
      onPointerLeave={() => onPoint?.(null)}
    />
  );
}
