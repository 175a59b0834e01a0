include kiln
