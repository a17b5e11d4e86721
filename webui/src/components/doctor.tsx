/** What the doctor found on a node's machine, with a picture of what its policy sees. */

import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { moment } from "../format";
import { failed } from "../notices";
import { useMay } from "../session";
import type { Diagnosis, Examination } from "../types";
import { Dialog } from "./dialog";

/** How a diagnosis' state is shown: a word for everybody, a colour beside it. */
const STATES: Record<string, [string, string]> = { ok: ["ok", "good"], note: ["note", "waiting"], wrong: ["wrong", "bad"] };

export function Doctor({ node, here, close }: { node: string; here: boolean; close: () => void }) {
  const [found, setFound] = useState<Examination | null>(null);
  const [looking, setLooking] = useState(false);
  const operator = useMay("operator");

  const look = async (): Promise<void> => {
    setLooking(true);
    try {
      setFound(await api.examine(node));
    } catch (error) {
      failed(error);
    }
    setLooking(false);
  };
  useEffect(() => {
    void api.examination(node).then(setFound, () => (operator && here ? look() : undefined)); // nobody has looked yet
  }, []);

  return (
    <Dialog title={`The doctor on ${node}`} close={close}>
      <div class="stack doctor" aria-busy={looking}>
        {looking ? (
          <p class="note loading" role="status">
            It looks at the machine, the network and what is driven. That takes up to a minute; a worker lets go of the game meanwhile.
          </p>
        ) : found === null ? (
          <p class="empty">{here ? "Nobody has asked it yet." : "The machine is away, and nobody has asked before."}</p>
        ) : (
          <Found examination={found} />
        )}
        {operator && here && (
          <div class="actions end">
            <button type="button" class="primary" disabled={looking} onClick={() => void look()}>
              {found === null ? "Look" : "Look again"}
            </button>
          </div>
        )}
      </div>
    </Dialog>
  );
}

function Found({ examination }: { examination: Examination }) {
  const areas = [...new Set(examination.diagnoses.map((each) => each.area))];
  const wrong = examination.diagnoses.filter((each) => each.state === "wrong").length;
  return (
    <>
      <p class="note">
        {moment(examination.time)}: {wrong === 0 ? "nothing is wrong" : wrong === 1 ? "one thing is wrong" : `${wrong} things are wrong`}
      </p>
      {examination.picture !== "" && <Picture base64={examination.picture} />}
      {areas.map((area) => (
        <section key={area}>
          <h3>{area}</h3>
          <ul class="diagnoses">
            {examination.diagnoses
              .filter((each) => each.area === area)
              .map((each) => (
                <Line key={`${each.check} ${each.text}`} diagnosis={each} />
              ))}
          </ul>
        </section>
      ))}
    </>
  );
}

function Line({ diagnosis }: { diagnosis: Diagnosis }) {
  const [word, kind] = STATES[diagnosis.state] ?? [diagnosis.state, ""];
  return (
    <li>
      <span class={`state ${kind}`}>{word}</span>
      <div>
        <b>{diagnosis.check}</b>: {diagnosis.text}
        {diagnosis.mend !== "" && <p class="mend">{diagnosis.mend}</p>}
      </div>
    </li>
  );
}

/** A JPEG that came as text, shown from memory: nothing is loaded from anywhere. */
function Picture({ base64 }: { base64: string }) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const made = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [base64]);
  return address === "" ? null : <img class="seen" src={address} alt="What the policy sees, with the beams of its distance measurements" />;
}
