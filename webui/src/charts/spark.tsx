/** A small curve without axes. */

const WIDTH = 120;
const HEIGHT = 28;

export function Spark({ values, label }: { values: (number | null)[]; label: string }) {
  const known = values.filter((value): value is number => value !== null);
  if (known.length < 2) return <span class="spark none">no curve yet</span>;
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const points = known.map((value, index) => {
    const x = 2 + (index / (known.length - 1)) * (WIDTH - 4);
    const y = HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const [x, y] = (points.at(-1) ?? "0,0").split(",");
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} role="img" aria-label={label}>
      <polyline points={points.join(" ")} fill="none" />
      <circle cx={x} cy={y} r="2.2" />
    </svg>
  );
}
