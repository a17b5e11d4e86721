import * as api from "../api";
import { measured, whole } from "../format";
import { useLive, useLoad } from "../loading";
import type { Node, Verdict } from "../types";

/** What the run's trainer finds wrong with the training, as long as that lasts; nothing while all is well. */
export function Health({ run }: { run: string }) {
  const found = useLoad(api.nodes, run);
  useLive(["node", "problem"], run, { fresh: found.reload, event: found.reload });
  const standing = (found.data ?? []).filter((node) => node.role === "trainer" && node.run === run).flatMap(verdictsOf);
  if (standing.length === 0) return null;
  return (
    <section class="card health" aria-labelledby="health-title">
      <h2 id="health-title">Something is wrong with the training</h2>
      <ul>
        {standing.map((verdict) => (
          <li key={verdict.code} class="problem">
            {verdict.text}: {verdict.mend}.
            <small>{[`since update ${whole(verdict.update)}`, ...numbersOf(verdict)].join(" · ")}</small>
          </li>
        ))}
      </ul>
    </section>
  );
}

function verdictsOf(node: Node): Verdict[] {
  const told = node.values["health"];
  return Array.isArray(told) ? (told as Verdict[]) : [];
}

const numbersOf = ({ numbers }: Verdict): string[] =>
  Object.entries(numbers).map(([name, value]) => `${name.replaceAll("_", " ")} ${measured(value)}`);
