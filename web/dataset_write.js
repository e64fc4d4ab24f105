// Writing captions back into the user's files: what would be written is shown, and nothing happens before a yes.
import { make, say } from "./common.js"

/**
 * Show what a write-back would do, and do it when it is confirmed.
 * @param {import("./dataset_model.js").DatasetModel} model
 * @param {(work: () => Promise<string>) => void} then runs what was confirmed and tells the words that it gives
 */
export async function confirmWriteBack(model, then) {
  const plan = await model.planWriteBack()
  const go = make("button", { type: "button", class: "kiln-do" }, say("Write {count} files", { count: plan.writes }))
  const stop = make("button", { type: "button", autofocus: true }, say("Cancel"))
  const dialog = make("dialog", { class: "kiln kiln-question kiln-plan", "aria-label": say("Write captions back") },
    make("p", {}, summary(plan)),
    plan.files.length > 0 && make("ul", { class: "kiln-files" }, ...plan.files.map(fileRow)),
    plan.skipped.length > 0 && make("details", {}, make("summary", {}, say("{count} left out", { count: plan.left_out })),
      make("ul", { class: "kiln-files" }, ...plan.skipped.map((/** @type {string} */ words) => make("li", {}, words)))),
    make("div", { class: "kiln-row" }, plan.writes > 0 && go, stop))
  dialog.addEventListener("keydown", (event) => event.stopPropagation())
  dialog.addEventListener("close", () => dialog.remove())
  stop.addEventListener("click", () => dialog.close())
  go.addEventListener("click", () => {
    dialog.close()
    then(async () => {
      const done = await model.writeBack(plan.mark)
      return say("{count} captions written. What was there lies in {folder}", { count: done.written, folder: done.backup })
    })
  })
  document.body.append(dialog)
  dialog.showModal()
}

/** @param {{ writes: number, new: number, same: number }} plan */
function summary(plan) {
  if (!plan.writes) return say("Every caption stands in its file already ({same}).", { same: plan.same })
  return say(
    "{writes} caption files will be written, {fresh} of them new; {same} stay as they are. What they hold now is copied to " +
      "output/kiln/caption_backups first.",
    { writes: plan.writes, fresh: plan.new, same: plan.same },
  )
}

/** @param {{ file: string, old: string | null, new: string }} row */
function fileRow(row) {
  return make("li", {}, make("code", {}, row.file),
    make("del", {}, row.old ?? say("(no file)")), make("ins", {}, row.new || say("(empty)")))
}
