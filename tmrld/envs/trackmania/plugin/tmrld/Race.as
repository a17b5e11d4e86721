// The race on the screen, as the game's own scripts see it.  Any of it may be null: in menus, while a map loads, in the editor.
//
// CSmScriptPlayer has all that a record needs, so no other plugin has to be there (VehicleState, for one).
// https://next.openplanet.dev/Game/CSmScriptPlayer, https://next.openplanet.dev/Game/CGameTerminal

// What the player of this machine looks at and plays with, or null.
CGameTerminal@ Terminal() {
    CSmArenaClient@ playground = cast<CSmArenaClient>(GetApp().CurrentPlayground);
    if (playground is null || playground.GameTerminals.Length == 0) {
        return null;
    }
    return playground.GameTerminals[0];
}

// The player's car, or null.  A watched one counts where none is driven.
CSmScriptPlayer@ Car(CGameTerminal@ terminal) {
    CSmPlayer@ player = cast<CSmPlayer>(terminal.ControlledPlayer);
    if (player is null) {
        @player = cast<CSmPlayer>(terminal.GUIPlayer);
    }
    if (player is null) {
        return null;
    }
    return cast<CSmScriptPlayer>(player.ScriptAPI);
}
