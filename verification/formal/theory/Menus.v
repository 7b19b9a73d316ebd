(** The checker of zetaplan.certificate/2, and the theorem that what it accepts is true. *)

From Coq Require Import ZArith QArith String List Lia Lqa FMapPositive.
From Zetaplan Require Import Vectors Sweep Json Leaf Claim Tree.
Import ListNotations.
Open Scope Z_scope.
Open Scope outcome_scope.

(** ** Reading *)

Definition SCHEMA := "zetaplan.certificate/2"%string.
Definition PLAN := "zetaplan.plan/2"%string.

Definition schema_is (name : string) (v : json) : bool :=
  match v with
  | JObject fields => match get fields "schema" with JString text => String.eqb text name | _ => false end
  | _ => false
  end.

(** The certificate itself, or that under the key "proof" of a plan. *)
Definition inside (v : json) : json :=
  match v with JObject fields => if schema_is PLAN v then get fields "proof" else v | _ => v end.

Definition read_option (n : Z) (v : json) : outcome (option row) :=
  match v with JNull => Ok None | _ => let* r := numbers v "menu" n n in Ok (Some r) end.

Definition read (document : json) : outcome certificate :=
  let v := inside document in
  let* _ := need (schema_is SCHEMA v) Unreadable "schema" in
  let* fields := keys v "certificate" ["schema"; "menus"; "budgets"; "plan"; "gap"; "proof"]%string in
  let* budgets := numbers (get fields "budgets") "budgets" 1 BUDGETS in
  let* gap := number (get fields "gap") "gap" in
  let* items := as_list (get fields "menus") "menus" 1 OPTIONS in
  let* lists := map_all (fun m => as_list m "menus" 1 OPTIONS) items in
  let* _ := need (fold_left (fun n m => n + size m) lists 0 <=? OPTIONS) Unreadable "menus" in
  let* menus := map_all (map_all (read_option (size budgets + 1))) lists in
  let* places := as_list (get fields "plan") "plan" (size menus) (size menus) in
  let* plan := map_all (fun j => index j "plan" OPTIONS) places in
  Ok {| menus := menus; budgets := budgets; plan := plan; gap := gap; proof := get fields "proof" |}.

(** ** Checking *)

Definition present_rows (m : list (option row)) : list row := flat_map (fun o => match o with Some r => [r] | None => [] end) m.

Definition unit_of (c : certificate) : Z :=
  common (common 1 (gap c :: budgets c)) (concat (flat_map present_rows (menus c))).

Fixpoint present (unit j : Z) (m : list (option row)) : numbered_menu :=
  match m with
  | [] => []
  | Some r :: rest => (j, map (scaled unit) r) :: present unit (j + 1) rest
  | None :: rest => present unit (j + 1) rest
  end.

Fixpoint lookup (j : Z) (m : numbered_menu) : outcome vec :=
  match m with
  | [] => Fail Invalid "plan"
  | (k, v) :: rest => if k =? j then Ok v else lookup j rest
  end.

Fixpoint taken (ms : list numbered_menu) (plan : list Z) : outcome (list vec) :=
  match ms, plan with
  | [], [] => Ok []
  | m :: ms, j :: plan => let* v := lookup j m in let* rest := taken ms plan in Ok (v :: rest)
  | _, _ => Fail Unreadable "plan"
  end.

Definition of_length (n : nat) (m : list (option row)) : bool :=
  forallb (fun r => Nat.eqb (List.length r) (n + 1)) (present_rows m).

Definition check_menu (c : certificate) : outcome unit :=
  let n := List.length (budgets c) in
  let unit := unit_of c in
  let* _ := need (forallb (of_length n) (menus c)) Unreadable "menu" in
  let ms := map (present unit 0) (menus c) in
  let* rows := taken ms (plan c) in
  let spent := total rows in
  let room := map (scaled unit) (budgets c) in
  let* _ := need (leb spent (room ++ [entry spent n])) Invalid "budget" in
  let limits := room ++ [entry spent n - scaled unit (gap c) - 1] in
  let* nodes := as_list (proof c) "proof" 1 NODES in
  let root := PositiveMap.add 1%positive (PositiveMap.empty numbered_menu) (PositiveMap.empty place) in
  walk limits ms (size nodes) nodes 1%positive root 0.

Definition check (document : json) : outcome unit := let* c := read document in check_menu c.

(** ** Soundness *)

Lemma lookup_present unit m : forall j k v, lookup j (present unit k m) = Ok v ->
  k <= j /\ exists r, nth_error m (Z.to_nat (j - k)) = Some (Some r) /\ v = map (scaled unit) r.
Proof.
  induction m as [|[r|] m IH]; intros j k v H; cbn [present lookup] in H; [discriminate| |].
  - destruct (Z.eqb_spec k j) as [->|N].
    + injection H as <-. split; [lia|]. exists r. now rewrite Z.sub_diag.
    + apply IH in H as [L H]. split; [lia|].
      replace (Z.to_nat (j - k)) with (S (Z.to_nat (j - (k + 1)))) by lia. exact H.
  - apply IH in H as [L H]. split; [lia|].
    replace (Z.to_nat (j - k)) with (S (Z.to_nat (j - (k + 1)))) by lia. exact H.
Qed.

Lemma taken_rows unit (all : list (list (option row))) : forall plan vs,
  taken (map (present unit 0) all) plan = Ok vs -> List.length all = List.length plan /\
  exists rows, vs = map (map (scaled unit)) rows /\
  Forall2 (fun m_j r => 0 <= snd m_j /\ nth_error (fst m_j) (Z.to_nat (snd m_j)) = Some (Some r))
    (combine all plan) rows.
Proof.
  induction all as [|m all IH]; intros [|j plan] vs H; cbn [map taken] in H; try discriminate.
  - injection H as <-. split; [reflexivity|]. exists []. split; [reflexivity|constructor].
  - apply bind_ok in H as [v [L H]]. apply bind_ok in H as [vs' [T H]]. injection H as <-.
    apply lookup_present in L as [P [r [E ->]]]. apply IH in T as [N [rows [-> F]]].
    split; [cbn; congruence|]. exists (r :: rows). split; [reflexivity|]. cbn. constructor; [|exact F].
    cbn. now rewrite Z.sub_0_r in E.
Qed.

Lemma present_In unit r m : In (Some r) m -> forall k, exists j, In (j, map (scaled unit) r) (present unit k m).
Proof.
  induction m as [|[a|] m IH]; intros H k; cbn in *; [contradiction| |].
  - destruct H as [H|H]; [injection H as ->; exists k; auto|].
    destruct (IH H (k + 1)) as [j I]. exists j. auto.
  - destruct H as [H|H]; [discriminate|]. exact (IH H (k + 1)).
Qed.

Lemma choice_fits unit (all : list (list (option row))) rows : choice all rows ->
  exists picks, fits picks (map (present unit 0) all) /\ map snd picks = map (map (scaled unit)) rows.
Proof.
  induction 1 as [|m r all rows H _ [picks [F E]]].
  - exists []. split; [constructor|reflexivity].
  - destruct (present_In unit r m H 0) as [j I]. exists ((j, map (scaled unit) r) :: picks).
    split; [now constructor|]. cbn. now rewrite E.
Qed.

Lemma in_present_rows r m : In (Some r) m -> In r (present_rows m).
Proof. intro H. unfold present_rows. apply in_flat_map. exists (Some r). cbn. auto. Qed.

Lemma choice_measured c rows : choice (menus c) rows -> Forall (Forall (measures (unit_of c))) rows.
Proof.
  intro H. assert (sub : forall r, In r rows -> exists m, In m (menus c) /\ In (Some r) m).
  { induction H as [|m r all rows I _ IH]; intros r' J; [contradiction|].
    destruct J as [<-|J]; [exists m; cbn; auto|]. destruct (IH r' J) as [m' [A B]]. exists m'. cbn. auto. }
  apply Forall_forall. intros r I. destruct (sub r I) as [m [A B]].
  apply Forall_forall. intros q Q. pose proof (common_measures (concat (flat_map present_rows (menus c)))
    (common 1 (gap c :: budgets c))) as M. rewrite Forall_forall in M. apply M.
  apply in_concat. exists r. split; [|exact Q]. apply in_flat_map. exists m. split; [exact A|].
  now apply in_present_rows.
Qed.

Lemma limit_measured c q : In q (gap c :: budgets c) -> measures (unit_of c) q.
Proof.
  intro H. eapply measures_multiple; [apply common_divides|].
  pose proof (common_measures (gap c :: budgets c) 1) as M. rewrite Forall_forall in M. now apply M.
Qed.

Lemma unit_positive c : 0 < unit_of c.
Proof. unfold unit_of. apply common_positive, common_positive. lia. Qed.

Lemma plan_choice c rows : rows_of_plan c rows -> choice (menus c) rows.
Proof.
  unfold rows_of_plan, choice. intros [F L]. revert L rows F. generalize (plan c) as places.
  induction (menus c) as [|m all IH]; intros [|j places] L rows F; cbn in *; try discriminate.
  - inversion F. constructor.
  - inversion F as [|p r ps rs [_ E] F']; subst. constructor; [|apply (IH places); congruence].
    cbn in E. now apply nth_error_In in E.
Qed.

Lemma le_exact unit a b (x y : Q) : 0 < unit ->
  (inject_Z a == x * inject_Z unit)%Q -> (inject_Z b == y * inject_Z unit)%Q -> (x <= y)%Q <-> a <= b.
Proof.
  intros P A B. rewrite Zle_Qle, A, B. symmetry. apply Qmult_le_r.
  change 0%Q with (inject_Z 0). rewrite <- Zlt_Qlt. exact P.
Qed.

Lemma nth_scaled unit l i : nth i (map (scaled unit) l) 0 = scaled unit (nth i l 0%Q).
Proof. exact (entry_scaled unit l i). Qed.

Lemma beyond n rows i : Forall (fun v => List.length v = (n + 1)%nat) rows -> (n < i)%nat -> entry (total rows) i = 0.
Proof.
  intros H L. induction H as [|v rows E _ IH]; [apply entry_nil|].
  change (total (v :: rows)) with (add v (total rows)). rewrite entry_add, IH.
  unfold entry. rewrite nth_overflow; lia.
Qed.

Theorem check_menu_sound c : check_menu c = Ok tt -> claim c.
Proof.
  unfold check_menu. set (n := List.length (budgets c)). set (unit := unit_of c). intro E.
  apply bind_ok in E as [[] [lengths E]]. apply need_ok in lengths.
  apply bind_ok in E as [vs [T E]]. apply taken_rows in T as [same [rows [-> F]]].
  apply bind_ok in E as [[] [K E]]. apply need_ok, leb_le in K. apply bind_ok in E as [nodes [some E]].
  apply as_list_ok in some. assert (P : rows_of_plan c rows) by (split; [exact F|exact same]).
  pose proof (unit_positive c) as U. fold unit in U.
  assert (exact : forall rs i, choice (menus c) rs ->
    (inject_Z (entry (total (map (map (scaled unit)) rs)) i) == column i rs * inject_Z unit)%Q).
  { intros rs i H. apply column_scaled. exact (choice_measured c rs H). }
  assert (limit : forall i, (i < n)%nat ->
    (inject_Z (scaled unit (nth i (budgets c) 0%Q)) == nth i (budgets c) 0%Q * inject_Z unit)%Q).
  { intros i L. apply scaled_exact, limit_measured. right. now apply nth_In. }
  pose proof (plan_choice c rows P) as PC.
  set (spent := total _) in *.
  exists rows. split; [exact P|]. split.
  - intros i L. fold n in L. eapply le_exact; [exact U|exact (exact rows i PC)|exact (limit i L)|].
    specialize (K i). unfold entry in K at 2. rewrite app_nth1 in K by (rewrite map_length; exact L).
    rewrite nth_scaled in K. exact K.
  - intros others C kept. unfold loss. fold n.
    destruct (Qlt_le_dec (column n others) (column n rows - gap c)) as [better|]; [exfalso|assumption].
    destruct (choice_fits unit (menus c) others C) as [picks [fit same_rows]].
    eapply walk_sound in E.
    + apply E. exists 1%positive, (PositiveMap.empty numbered_menu).
      split; [lia|]. split; [apply PositiveMap.gss|].
      assert (id : forall ms k, restrict k ms (PositiveMap.empty numbered_menu) = ms).
      { induction ms as [|m ms IH]; intro k; cbn; [reflexivity|]. rewrite PositiveMap.gempty. now rewrite IH. }
      rewrite id. exact fit.
    + rewrite same_rows. intro i. destruct (Nat.lt_trichotomy i n) as [L|[->|L]].
      * unfold entry at 2. rewrite app_nth1 by (rewrite map_length; exact L). rewrite nth_scaled.
        eapply le_exact; [exact U|exact (exact others i C)|exact (limit i L)|]. exact (kept i L).
      * unfold entry at 2. rewrite app_nth2 by (rewrite map_length; unfold n; lia).
        replace (n - List.length (map (scaled unit) (budgets c)))%nat with 0%nat by (rewrite map_length; unfold n; lia).
        cbn [nth]. enough (entry (total (map (map (scaled unit)) others)) n < entry spent n - scaled unit (gap c)) by lia.
        rewrite Zlt_Qlt. unfold Z.sub. rewrite inject_Z_plus, inject_Z_opp, exact by exact C.
        unfold spent. rewrite exact by exact PC. rewrite scaled_exact by (apply limit_measured; left; reflexivity).
        assert (UQ : (0 < inject_Z unit)%Q) by (change 0%Q with (inject_Z 0); rewrite <- Zlt_Qlt; exact U).
        apply (Qmult_lt_r _ _ _ UQ) in better.
        setoid_replace (column n rows * inject_Z unit + - (gap c * inject_Z unit))%Q
          with ((column n rows - gap c) * inject_Z unit)%Q by ring. exact better.
      * rewrite (beyond n).
        -- unfold entry. rewrite nth_overflow; [lia|]. rewrite app_length, map_length. cbn. unfold n in L. lia.
        -- apply Forall_map. clear - C lengths. induction C as [|m r all rs I _ IH]; constructor.
           ++ rewrite map_length. cbn in lengths. apply andb_prop in lengths as [H _]. unfold of_length in H.
              rewrite forallb_forall in H. apply Nat.eqb_eq, H. now apply in_present_rows.
           ++ cbn in lengths. apply andb_prop in lengths as [_ H]. auto.
        -- exact L.
    + intros k h H. destruct (Pos.eq_dec k 1) as [->|D]; [|rewrite PositiveMap.gso, PositiveMap.gempty in H by exact D; discriminate].
      lia.
    + rewrite size_length. lia.
Qed.

Theorem check_sound document : check document = Ok tt -> exists c, read document = Ok c /\ claim c.
Proof. unfold check. intro H. apply bind_ok in H as [c [R H]]. exists c. auto using check_menu_sound. Qed.
