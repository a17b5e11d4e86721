import { render } from "preact";
import { App } from "./app";
import { takeCode } from "./route";
import { restoreTheme } from "./theme";
import "./style.css";

restoreTheme();
const page = document.getElementById("page");
if (page !== null) render(<App code={takeCode()} />, page);
